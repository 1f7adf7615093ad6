"""The published ChatGLM layouts: ChatGLM-6B, ChatGLM2 (and CodeGeeX2), ChatGLM3, without running any of their code."""
