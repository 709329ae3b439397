"""The same weights in PyTorch: outputs, gradients and a training run. Needs the `peers` extra."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcast

torch = pytest.importorskip("torch", reason="the peers extra is not installed")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]


def tensors(arrays, requires_grad=False):
    return [torch.tensor(np.array(a), dtype=torch.float64, requires_grad=requires_grad) for a in arrays]


def torch_attention(params, states, errors, forecasts):
    """The published equation, with W_q and W_k apart; parameters in the order of jax.tree.leaves."""
    bias, hidden, value = params
    query_weights, key_weights = hidden.chunk(2)
    query = states.flatten(1) @ query_weights
    keys = errors.transpose(1, 2).flatten(2) @ key_weights
    scores = torch.tanh(query[:, None] + keys + bias) @ value
    return (torch.softmax(scores, 1) * forecasts).sum(1)


def torch_scaled_dot_product(params, states, errors, forecasts):
    key_weights, bias, query_weights = params
    query = states.flatten(1) @ query_weights + bias
    keys = errors.transpose(1, 2).flatten(2) @ key_weights
    return torch.nn.functional.scaled_dot_product_attention(query[:, None], keys, forecasts)[:, 0]


def torch_feed_forward(params, states):
    bias_1, weights_1, bias_2, weights_2 = params
    return torch.tanh(states.flatten(1) @ weights_1 + bias_1) @ weights_2 + bias_2


@pytest.fixture(scope="module")
def attention_case(trajectory, candidates):
    samples = jaxcast.one_step_samples(trajectory, 5, candidates)
    pool = jaxcast.AdditiveAttention(dim=3, num_delays=5, hidden_size=24, key=jax.random.key(1), dtype=jnp.float64)
    return pool, samples, lambda params, s: torch_attention(params, *tensors((*s.memory, s.forecasts)))


@pytest.fixture(scope="module")
def scaled_case(trajectory, candidates):
    samples = jaxcast.one_step_samples(trajectory, 5, candidates)
    sizes = dict(dim=3, num_delays=5, hidden_size=24, dtype=jnp.float64)
    pool = jaxcast.pooling.ScaledDotProductAttention(**sizes, key=jax.random.key(1))
    return pool, samples, lambda params, s: torch_scaled_dot_product(params, *tensors((*s.memory, s.forecasts)))


@pytest.fixture(scope="module")
def feed_forward_case(trajectory):
    samples = jaxcast.one_step_samples(trajectory, 5)
    network = jaxcast.pooling.FeedForward(dim=3, num_delays=5, hidden_size=24, key=jax.random.key(1), dtype=jnp.float64)
    return network, samples, lambda params, s: torch_feed_forward(params, *tensors((s.memory.states,)))


@pytest.fixture(params=["attention_case", "scaled_case", "feed_forward_case"])
def case(request):
    return request.getfixturevalue(request.param)


def test_outputs_and_gradients(case):
    model, samples, peer = case
    params = tensors(jax.tree.leaves(model), requires_grad=True)
    forecast = peer(params, samples)
    ours = model(samples.memory, samples.forecasts).forecast
    np.testing.assert_allclose(ours, forecast.detach().numpy(), rtol=1e-11, atol=1e-12)

    loss, gradient = jax.value_and_grad(jaxcast.pooling.mean_squared_error)(model, samples)
    peer_loss = torch.nn.functional.mse_loss(forecast, *tensors((samples.targets,)))
    peer_loss.backward()
    assert float(loss) == pytest.approx(peer_loss.item(), rel=1e-12)
    for a, b in zip(jax.tree.leaves(gradient), params, strict=True):
        np.testing.assert_allclose(a, b.grad.numpy(), rtol=1e-9, atol=1e-9 * float(jnp.abs(a).max()))


def test_training_by_adam(case):
    template, samples, peer = case
    key = jax.random.key(5)

    def init(key):
        return template

    adam = optax.adam(1e-3)
    fit = jaxcast.fit(
        samples,
        init=init,
        loss=jaxcast.pooling.mean_squared_error,
        keys=key[None],
        optimizer=adam,
        num_epochs=4,
        batch_size=64,
    )

    params = tensors(jax.tree.leaves(template), requires_grad=True)
    optimizer = torch.optim.Adam(params, lr=1e-3)
    num_samples = len(samples.targets)
    for epoch in range(4):
        shuffle = jax.random.fold_in(jax.random.fold_in(key, 1), epoch)
        order = np.asarray(jax.random.permutation(shuffle, num_samples))[: num_samples // 64 * 64]
        losses = []
        for batch in order.reshape(-1, 64):
            minibatch = jax.tree.map(lambda a, batch=batch: a[batch], samples)
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(peer(params, minibatch), *tensors((minibatch.targets,)))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert float(fit.losses[0, epoch]) == pytest.approx(np.mean(losses), rel=1e-8)
    for a, b in zip(jax.tree.leaves(fit.models), params, strict=True):
        np.testing.assert_allclose(a[0], b.detach().numpy(), rtol=1e-6, atol=1e-9)
