"""Recurrent layers, over a whole sequence or one step at a time, and convolutions over graphs and time."""

from jaxcast.nn.graph import backward_transition as backward_transition
from jaxcast.nn.graph import both_transitions as both_transitions
from jaxcast.nn.graph import chebyshev_polynomials as chebyshev_polynomials
from jaxcast.nn.graph import rescaled_laplacian as rescaled_laplacian
from jaxcast.nn.graph import symmetric_normalised as symmetric_normalised
from jaxcast.nn.graph import transition as transition
from jaxcast.nn.graph_convolution import ChebyshevConvolution as ChebyshevConvolution
from jaxcast.nn.graph_convolution import DiffusionConvolution as DiffusionConvolution
from jaxcast.nn.graph_convolution import LearnedGraph as LearnedGraph
from jaxcast.nn.grid_convolution import GridConvolution as GridConvolution
from jaxcast.nn.gru import GRU as GRU
from jaxcast.nn.lstm import LSTM as LSTM
from jaxcast.nn.lstm import LSTMCarry as LSTMCarry
from jaxcast.nn.network import Network as Network
from jaxcast.nn.rnn import RNN as RNN
from jaxcast.nn.self_attention import SelfAttention as SelfAttention
from jaxcast.nn.sparse_graph import SparseGraph as SparseGraph
from jaxcast.nn.sparse_graph import sparse_operators as sparse_operators
from jaxcast.nn.stack import Bidirectional as Bidirectional
from jaxcast.nn.stack import Stack as Stack
from jaxcast.nn.temporal_convolution import TemporalConvolution as TemporalConvolution
