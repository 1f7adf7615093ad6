"""lm-eval task classes for protocols that ask a checkpoint what lm-eval has no request for.

A task names one with `class:` in its YAML, but for those made of files (`FromFile`). Most change the kind of
their requests, which are methods of `harness.backends.local.HarnessLM`; everything else is lm-eval's
`ConfigurableTask`.
lm-eval's own models lack those methods, so run by them such a task stops, rather than being scored by another
definition under the same name. `Consultation` generates as lm-eval does.

Not here: prompts and labels (`tasks/`), or how requests are answered (`harness.engine`).
"""
