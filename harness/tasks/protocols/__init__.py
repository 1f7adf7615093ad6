"""lm-eval task classes for protocols whose requests lm-eval does not know.

A task's YAML names its class with `class:`; the classes of tasks that are files (`FromFile`) are in no YAML. Most
classes change the type of their requests to one of `harness.backends.request_kinds`; everything else is lm-eval's
`ConfigurableTask`. lm-eval's own models cannot answer these types. With such a model, a task therefore stops instead of
being scored by another definition under the same name. `Consultation` generates as lm-eval does.

Not here: prompts and targets (`tasks/`), or how requests are answered (`harness.engine`).
"""
