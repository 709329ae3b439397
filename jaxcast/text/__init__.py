"""Tokens and language models."""

from jaxcast.text.language_model import LanguageModel as LanguageModel
from jaxcast.text.language_model import TextScore as TextScore
from jaxcast.text.language_model import TokenCell as TokenCell
from jaxcast.text.language_model import cross_entropy as cross_entropy
from jaxcast.text.language_model import log_likelihoods as log_likelihoods
from jaxcast.text.language_model import sample_tokens as sample_tokens
from jaxcast.text.language_model import score_log_likelihoods as score_log_likelihoods
from jaxcast.text.tokens import CharacterTokenizer as CharacterTokenizer
from jaxcast.text.tokens import text_streams as text_streams
