"""Where the MMEngine training stands that a loss is part of."""

from mmengine.logging import MessageHub

__all__ = ['running_training', 'training_progress']


def running_training(hub_name: str = '') -> MessageHub | None:
    """The message hub of the MMEngine training that runs, or None.

    Args:
        hub_name: name of the hub to ask first. The current hub, which comes next, is that of the runner made last.
    """
    hubs = [MessageHub.get_instance(hub_name)] if MessageHub.check_instance_created(hub_name) else []
    needed = {'iter', 'max_iters', 'loop_stage'}  # the last is there while a loop runs
    return next(
        (hub for hub in (*hubs, MessageHub.get_current_instance()) if needed <= hub.runtime_info.keys()), None
    )


def training_progress(hub_name: str = '') -> float:
    """Share of the running MMEngine training that is done, in [0, 1), see :func:`running_training`.

    Raises:
        RuntimeError: outside a training of MMEngine.
    """
    hub = running_training(hub_name)
    if hub is None:
        raise RuntimeError(
            'EOLoss cannot know the training progress outside an MMEngine training: pass progress=... (0 at the '
            "start, 1 at the end) or use schedule='constant'"
        )
    return float(hub.get_info('iter') / hub.get_info('max_iters'))
