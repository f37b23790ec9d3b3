"""Language models by their ``config.json`` as hubs keep it: read as JSON, without torch and without their code."""

from roofline.frontends.huggingface.api import from_huggingface

__all__ = ["from_huggingface"]
