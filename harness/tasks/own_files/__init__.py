"""Tasks made of a user's own files, without a YAML definition.

`file_tasks` turns names into tasks: a test set (`question_files`, which has `layouts` and `choices`), or `ppl:` texts
(`texts`).
"""
