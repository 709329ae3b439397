"""Recurrent layers, over a whole sequence or one step at a time."""

from jaxcast.recurrent.gru import GRU as GRU
from jaxcast.recurrent.layer import RecurrentLayer as RecurrentLayer
from jaxcast.recurrent.lstm import LSTM as LSTM
from jaxcast.recurrent.lstm import LSTMCarry as LSTMCarry
from jaxcast.recurrent.rnn import RNN as RNN
from jaxcast.recurrent.self_attention import SelfAttention as SelfAttention
from jaxcast.recurrent.stack import Bidirectional as Bidirectional
from jaxcast.recurrent.stack import Stack as Stack
