"""Recurrent layers, over a whole sequence or one step at a time."""

from jaxcast.nn.gru import GRU as GRU
from jaxcast.nn.lstm import LSTM as LSTM
from jaxcast.nn.lstm import LSTMCarry as LSTMCarry
from jaxcast.nn.network import Network as Network
from jaxcast.nn.rnn import RNN as RNN
from jaxcast.nn.self_attention import SelfAttention as SelfAttention
from jaxcast.nn.stack import Bidirectional as Bidirectional
from jaxcast.nn.stack import Stack as Stack
