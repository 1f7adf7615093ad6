"""lm-eval task classes for protocols whose requests lm-eval does not know.

A task's YAML names one with `class:`, except those of tasks that are files (`FromFile`). Most change the type of their
requests to one of `harness.backends.request_kinds`; everything else is lm-eval's `ConfigurableTask`.
lm-eval's own models do not answer these types, so with them such a task stops instead of being scored by another
definition under the same name. `Consultation` generates as lm-eval does.

Not here: prompts and targets (`tasks/`), or how requests are answered (`harness.engine`).
"""
