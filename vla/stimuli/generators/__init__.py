"""Generates further exemplars of items: paraphrases by language models, and images by text-to-image models."""

from vla.stimuli.generators.joins import with_paraphrases, with_synthetic
from vla.stimuli.generators.local_models import LocalModel, StableDiffusion
from vla.stimuli.generators.paraphrases import generate_paraphrases, plan_paraphrases
from vla.stimuli.generators.servers import Gemini, OpenAIServer
from vla.stimuli.generators.synthetic_images import generate_images, plan_images
