"""Words and tokens, language models, and classifiers of texts."""

from jaxcast.text.classifier import TextClassifier as TextClassifier
from jaxcast.text.classifier import WordSaliency as WordSaliency
from jaxcast.text.convolutional_network import ConvolutionalTextNetwork as ConvolutionalTextNetwork
from jaxcast.text.embeddings import WordEmbeddings as WordEmbeddings
from jaxcast.text.embeddings import embedding_table as embedding_table
from jaxcast.text.embeddings import read_embeddings as read_embeddings
from jaxcast.text.fit import LabelledTexts as LabelledTexts
from jaxcast.text.fit import fit_text_classifier as fit_text_classifier
from jaxcast.text.language_model import LanguageModel as LanguageModel
from jaxcast.text.language_model import TextScore as TextScore
from jaxcast.text.language_model import TokenCell as TokenCell
from jaxcast.text.language_model import cross_entropy as cross_entropy
from jaxcast.text.language_model import log_likelihoods as log_likelihoods
from jaxcast.text.language_model import sample_tokens as sample_tokens
from jaxcast.text.language_model import score_log_likelihoods as score_log_likelihoods
from jaxcast.text.networks import MeanTextNetwork as MeanTextNetwork
from jaxcast.text.networks import TextNetwork as TextNetwork
from jaxcast.text.networks import TextOutput as TextOutput
from jaxcast.text.networks import TextSizes as TextSizes
from jaxcast.text.recurrent_network import RecurrentTextNetwork as RecurrentTextNetwork
from jaxcast.text.tables import TextTable as TextTable
from jaxcast.text.tables import read_text_table as read_text_table
from jaxcast.text.tokens import CharacterTokenizer as CharacterTokenizer
from jaxcast.text.tokens import text_streams as text_streams
from jaxcast.text.vocabulary import Vocabulary as Vocabulary
from jaxcast.text.words import WordTokenizer as WordTokenizer
