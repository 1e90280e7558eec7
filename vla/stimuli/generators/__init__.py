"""Makes more exemplars of an item: captions worded by language models, pictures drawn from captions."""

from vla.stimuli.generators.gemini import Gemini
from vla.stimuli.generators.joins import with_paraphrases, with_synthetic
from vla.stimuli.generators.local_model import LocalModel
from vla.stimuli.generators.openai_server import OpenAIServer
from vla.stimuli.generators.paraphrases import generate_paraphrases, plan_paraphrases
from vla.stimuli.generators.stable_diffusion import StableDiffusion
from vla.stimuli.generators.synthetic_images import generate_images, plan_images
