"""The tracker node's services: forget the past, save the model, explain, learn or not, look or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from pvm_perception.errors import PvmError
from pvm_perception.explanation.moments import explain_moments
from pvm_perception.ros.saving import Saver, Writing, model_path

if TYPE_CHECKING:
    from pvm_perception.ros.tracker_node import TrackerNode


class Services:
    """Answers what other nodes ask of a tracker node.

    Parameters
    ----------
    node
        Whose services these are; an exception here becomes an answer there, see `Guarded`.

    Attributes
    ----------
    saver : writes the models that `save_model` asks for; the node waits for it when it stops
    """

    def __init__(self, node: TrackerNode) -> None:
        self._node = node
        self.saver = Saver()
        self._slow = ReentrantCallbackGroup()  # of services that await: the others go on meanwhile

    def offer(self) -> list[Any]:
        """Create the services and return them, to be destroyed by the node."""
        return [
            self._node.create_service(kind, f"~/{name}", answer, callback_group=group)
            for kind, name, answer, group in (
                (Trigger, "reset", self._reset, None),
                (Trigger, "save_model", self._save_model, self._slow),
                (Trigger, "explain", self._explain, self._slow),
                (SetBool, "set_learning", self._set_learning, None),
                (SetBool, "enable", self._enable, None),
            )
        ]

    def _reset(self, _request: Any, response: Any) -> Any:
        with self._node.frame_done():
            self._node.tracker.reset()
        response.success, response.message = True, "state and tracks are forgotten, weights kept"
        return response

    async def _save_model(self, request: Any, response: Any) -> Any:
        """Answer when the model is on the disk; frames go on meanwhile."""
        await self.save(request, response)
        response.success = True
        return response

    def save(self, _request: Any, response: Any) -> Writing:
        """Begin to write the model as it is now.

        Parameters
        ----------
        _request
            Unused.
        response
            Its message gets the file's name, which no other save has.
        """
        path = model_path(self._node.get_namespace(), self._node.get_name())
        with self._node.frame_done():
            model = self._node.tracker.snapshot()
        response.message = str(path)
        return self.saver.save(path, model)

    async def _explain(self, _request: Any, response: Any) -> Any:
        """Answer when the page about the last seconds is on the disk; frames go on meanwhile."""
        node = self._node
        path = model_path(node.get_namespace(), node.get_name()).with_suffix(".html")
        with node.frame_done():
            moments = node.recent.moments()
            if not moments:
                raise PvmError("there was no image in the last seconds that could be explained")
            tracker = node.tracker
            model, device, settings, targets = (
                tracker.snapshot(),
                tracker.device,
                tracker.settings,
                tracker.targets,
            )
        await self.saver.write(path, lambda: explain_moments(path, moments, model, device, settings, targets))
        response.success, response.message = True, str(path)
        return response

    def _set_learning(self, request: Any, response: Any) -> Any:
        result = self._node.set_parameters([Parameter("learning", value=bool(request.data))])[0]
        response.success = result.successful
        on = f"on: {self._node.tracker.learns}" if request.data else "off"
        response.message = result.reason or f"learning {on}"
        return response

    def _enable(self, request: Any, response: Any) -> Any:
        self._node.enabled, self._node.health.waiting = bool(request.data), None
        response.success = True
        response.message = "enabled" if request.data else "frames are ignored until enabled again"
        return response
