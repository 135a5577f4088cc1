"""Settings of the configuration as attributes of the models, which in `transformers` are copies of them."""

from typing import Any


class ConfigValue:
    """An attribute of a model that reads and sets the value of the same name in its configuration."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember the name."""
        self._name = name

    def __get__(self, model: Any, owner: type) -> Any:
        """Return the value in the configuration; of the class, the descriptor."""
        return self if model is None else getattr(model.config, self._name)

    def __set__(self, model: Any, value: Any) -> None:
        """Set the value in the configuration."""
        setattr(model.config, self._name, value)


class PretrainingSettings:
    """Which tasks of pre-training count, and the factor of the losses about objects."""

    task_mask_lm = ConfigValue()
    task_matched = ConfigValue()
    task_obj_predict = ConfigValue()
    task_qa = ConfigValue()
    visual_loss_normalizer = ConfigValue()
