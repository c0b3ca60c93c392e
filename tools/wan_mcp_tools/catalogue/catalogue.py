"""What can be ordered here, and the check of every order before it costs money."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from wan_mcp_tools.catalogue.model import EXTRA_MODELS_SETTING, LengthUnit, Mode, Model, WireProtocol, format_amount
from wan_mcp_tools.catalogue.options import check_options
from wan_mcp_tools.catalogue.qwen_image import QWEN_IMAGE_MODELS
from wan_mcp_tools.catalogue.regions import REGIONS, SANDBOX, find_region
from wan_mcp_tools.catalogue.sizes import GRADES, SizeRule, read_grade
from wan_mcp_tools.catalogue.wan import WAN_MODELS
from wan_mcp_tools.catalogue.z_image import Z_IMAGE_MODELS
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError
from wan_mcp_tools.domain.requests import ImageRequest, InputImage, read_reference

MAX_SEED = 2_147_483_647
"""Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference"""
MOST_IMAGES = 10
"""The most input pictures that any model takes."""

_ECHO = 40
_LONGEST_ID = 60
_CHARACTERS_A_TOKEN = 4
"""Of Latin letters; a sign of other scripts is about a token of its own."""
_MOST_ORDERS = 8
"""Orders into which a larger one is advised to be split."""
MODELS: tuple[Model, ...] = (*WAN_MODELS, *QWEN_IMAGE_MODELS, *Z_IMAGE_MODELS)
"""Every model of this release, by family, newest first."""


def choose_seed() -> int:
    """Choose a seed that nobody has named."""
    return random.SystemRandom().randint(0, MAX_SEED)


class Catalogue:
    """
    The models that can be ordered here, and the operator's choices among them.

    `extra` are the operator's rows: one with the id of a built-in model changes what it names and keeps the rest.
    `keyed_regions` are the names of the regions that have a key; `prefer_sync` orders by the synchronous protocol
    where a model has it. Models are found by their ids, in any spelling and case. `edit_model` is used for an order
    with input pictures that names none; `choose_seed` gives the seed of an order without one.

    Raises:
        SettingsError: a row of `extra` is wrong.
    """

    def __init__(
        self,
        extra: Sequence[Mapping[str, object]] = (),
        *,
        default_model: str = "wan2.6-t2i",
        edit_model: str = "wan2.7-image",
        default_region: str = "singapore",
        keyed_regions: frozenset[str] = frozenset(),
        prefer_sync: bool = False,
        choose_seed: Callable[[], int] = choose_seed,
    ) -> None:
        rows = {model.id: model for model in MODELS}
        if extra:
            # Few operators have such rows, and the models that check them would slow down every start.
            from wan_mcp_tools.catalogue.extra_models import read_extra_models  # noqa: PLC0415

            rows.update((model.id, model) for model in read_extra_models(extra, built_in=MODELS))
        self.models: tuple[Model, ...] = tuple(rows.values())
        self.default_model = default_model
        self.edit_model = edit_model
        self.default_region = default_region
        self.keyed_regions = keyed_regions
        self.prefer_sync = prefer_sync
        self._choose_seed = choose_seed
        dated = {name.lower(): model.as_snapshot(name) for model in self.models for name in model.snapshots}
        named = {name.lower(): model for model in self.models for name in (model.id, *model.aliases)}
        self._by_name = dated | named

    def find(self, model_id: str) -> Model:
        """
        Find a model by its id or by another spelling of it.

        Raises:
            RequestRefusedError: there is no such model; the advice lists those that exist.
        """
        model = self._by_name.get(model_id.strip().lower())
        if model is None:
            known = ", ".join(each.id for each in self.models)
            raise RequestRefusedError(
                f"There is no model {model_id[:_LONGEST_ID]!r} in the catalogue.",
                f"Use one of: {known}. The operator can add a newer model with {EXTRA_MODELS_SETTING}.",
            )
        return model

    def make_request(
        self,
        *,
        prompt: str,
        negative_prompt: str | None = None,
        model: str | None = None,
        size: str | None = None,
        n: int | None = None,
        seed: int | None = None,
        prompt_extend: bool | None = None,
        watermark: bool | None = False,
        region: str | None = None,
        output_dir: str | None = None,
        filename: str | None = None,
        images: Sequence[str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> ImageRequest:
        """
        Check an order and complete it with the defaults; `images` are not looked at, `options` are the model's own.

        Raises:
            RequestRefusedError: an argument is not one that the model or the region takes.
            SettingsError: the call names no model, and the operator's default is none that is known.
        """
        inputs = _read_images(images)
        chosen = self._choose_model(model, with_images=bool(inputs))
        chosen_region = self._choose_region(
            chosen, region, with_images=bool(inputs), prefers_key=bool(inputs) and not (model or "").strip()
        )
        checked = check_options(
            options, chosen.options, model_id=chosen.id, images=len(inputs), find_models=self._find_option_models
        )
        self._check_inputs(len(inputs), chosen, checked)
        count, checked = _check_count(n, chosen, checked)
        rule = chosen.sizes_of(checked, with_images=bool(inputs))
        return ImageRequest(
            model=chosen.id,
            region=chosen_region,
            prompt=_check_prompt(prompt, chosen),
            size=self._resolve_size(size, rule, chosen, chosen_region, inputs=len(inputs)),
            n=count,
            negative_prompt=self._check_negative_prompt(negative_prompt, chosen, with_images=bool(inputs)),
            seed=self._check_seed(seed, chosen),
            prompt_extend=self._check_prompt_extend(prompt_extend, chosen, with_images=bool(inputs)),
            watermark=self._check_watermark(watermark, chosen),
            output_dir=output_dir,
            filename=filename,
            images=inputs,
            options=checked,
            is_seed_chosen=seed is None and chosen.has_seed,
            is_size_chosen=rule is not None and not (size or "").strip(),
        )

    def fit_size(self, request: ImageRequest, width: int, height: int) -> ImageRequest:
        """
        Give a request the shape of its last input picture, which is `width` times `height` pixels.

        That holds for a size that nobody has named, and for a model that does not keep the shape by itself.
        """
        rule = self.find(request.model).sizes_of(request.options, with_images=bool(request.images))
        if not request.images or not request.is_size_chosen or rule is None or not rule.follows_input:
            return request
        return replace(request, size=rule.fit(width, height))

    def list_remarks(self, request: ImageRequest) -> tuple[str, ...]:
        """Say what a caller should know of a request although it is not refused."""
        model = self.find(request.model)
        if model.is_prompt_limit_certain or _measure(request.prompt, model.prompt_unit) <= model.prompt_limit:
            return ()
        limit = f"about {model.prompt_limit} {model.prompt_unit}"
        return (f"{model.id} reads {limit} of a prompt; the end of this one may be cut off.",)

    def choose_protocol(self, request: ImageRequest) -> WireProtocol:
        """Give the protocol by which the request is ordered."""
        model = self.find(request.model)
        return model.choose_protocol(request.region, prefer_sync=self.prefer_sync, options=request.options)

    def list_editing(self) -> tuple[Model, ...]:
        """Give the models that take input pictures."""
        return tuple(model for model in self.models if model.inputs is not None)

    @property
    def graded_models(self) -> tuple[str, ...]:
        """The ids of the models whose images do not all cost the same."""
        graded = [
            model for model in self.models if any(not each.price.is_flat for each in model.regions if each.price)
        ]
        return tuple(name for model in graded for name in (model.id, *model.snapshots))

    def _choose_model(self, named: str | None, *, with_images: bool) -> Model:
        if named and named.strip():
            return self.find(named)
        setting, default = (
            ("WAN_MCP_EDIT_MODEL", self.edit_model) if with_images else ("WAN_MCP_MODEL", self.default_model)
        )
        try:
            model = self.find(default)
        except RequestRefusedError as error:
            raise SettingsError(f"{setting}: {error.message}", error.advice) from error
        if with_images and model.inputs is None:
            names = ", ".join(each.id for each in self.list_editing())
            raise SettingsError(f"{setting}: {model.id} takes no input pictures.", f"Set it to one of: {names}.")
        return model

    def _check_inputs(self, count: int, model: Model, options: Mapping[str, Any]) -> None:
        """Check the number of input pictures."""
        if count and model.inputs is None:
            names = ", ".join(each.id for each in self.list_editing())
            raise RequestRefusedError(
                f"{model.id} draws from words alone and takes no images.",
                f"Use a model that takes them: {names}; or leave model out for {self.edit_model}.",
            )
        least, most = model.count_inputs(options)
        if count < least:
            raise RequestRefusedError(
                f"{model.id} changes pictures and needs images: {_range(least, most)} of them.",
                "Pass the picture in images, or use a model that draws from words alone.",
            )
        if count > most:
            more = [each.id for each in self.models if each.count_inputs({})[1] >= count]
            hint = f" Models that take {count}: {', '.join(more)}." if more else ""
            raise RequestRefusedError(
                f"images has {count} pictures, and {model.id} takes {_range(least, most)} in such an order.",
                f"Leave some out.{hint}",
            )

    def _check_seed(self, seed: int | None, model: Model) -> int | None:
        if seed is None:
            return self._choose_seed() if model.has_seed else None
        if not model.has_seed:
            raise _no_such_parameter("seed", model, [each.id for each in self.models if each.has_seed])
        return _check_whole("seed", seed, 0, MAX_SEED, "leave it out for a random one")

    def _check_watermark(self, value: bool | None, model: Model) -> bool | None:
        wanted = False if value is None else _check_switch("watermark", value)
        if model.has_watermark:
            return wanted
        if wanted:
            raise _no_such_parameter("watermark", model, [each.id for each in self.models if each.has_watermark])
        return None

    def _choose_region(self, model: Model, named: str | None, *, with_images: bool, prefers_key: bool) -> str:
        if named and named.strip():
            region = find_region(named).name
            if region in model.region_names:
                return region
            others = self._name_models_of(region, with_images=with_images)
            raise RequestRefusedError(
                f"{model.id} is not offered in {region}.",
                f"Regions that offer it: {', '.join(model.region_names)}. {others}",
            )
        is_there = self.default_region in model.region_names
        if is_there and (not prefers_key or self.default_region in self.keyed_regions):
            return self.default_region
        others = [each.name for each in REGIONS if each.name in model.region_names and each != SANDBOX]
        for region in others:
            if region in self.keyed_regions:
                return region
        if is_there:
            return self.default_region
        settings = [f"DASHSCOPE_API_KEY_{region.upper()}" for region in others]
        raise RequestRefusedError(
            f"{model.id} is not offered in {self.default_region}, and no region that offers it has a key.",
            f"Regions that offer it: {', '.join(others) or 'none but the sandbox'}. "
            + (f"Set {' or '.join(settings)}. " if settings else "")
            + self._name_models_of(self.default_region, with_images=with_images),
        )

    def _name_models_of(self, region: str, *, with_images: bool) -> str:
        models = self.list_editing() if with_images else self.models
        names = [model.id for model in models if region in model.region_names]
        kind = " that take images" if with_images else ""
        return f"Models of {region}{kind}: {', '.join(names) or 'none'}."

    def _resolve_size(
        self, size: str | None, rule: SizeRule | None, model: Model, region: str, *, inputs: int
    ) -> str | None:
        if rule is None:
            if not (size or "").strip():
                return None
            having = [
                each.id for each in self.models if each.count_inputs({})[1] >= inputs and each.sizes is not None
            ]
            raise _no_such_parameter("size", model, having)
        try:
            return rule.resolve(size)
        except RequestRefusedError as error:
            rules = {
                other.id: other_rule
                for other in self.models
                if region in other.region_names
                and _takes(other, inputs)
                and (other_rule := other.sizes_of({}, with_images=bool(inputs))) is not None
                and other_rule.allows(size)
            }
            others = [other for other in self.models if other.id in rules]
            hint = f" {_name_with_prices(others, region, size)}" if others else ""
            advice = error.advice
            if others and (grade := read_grade(size)):
                # Smaller sizes are no help to somebody who asked for the grade.
                advice = f"It draws {rule.limits.describe()}."
                hint += _tell_wide(grade, list(rules.values()))
            raise RequestRefusedError(
                f"{model.id} does not draw this size: {error.message}", advice + hint
            ) from error

    def _find_option_models(self, name: str) -> list[str]:
        """Name the models that have an option."""
        return [each.id for each in self.models if any(option.name == name for option in each.options)]

    def _list_fitting(self, *, with_images: bool) -> list[Model]:
        """Give the models for an order with input pictures, or without."""
        return [each for each in self.models if (each.inputs is not None if with_images else _draws_from_words(each))]

    def _check_negative_prompt(self, text: str | None, model: Model, *, with_images: bool) -> str | None:
        if text is None or not text.strip():
            return None
        if model.negative_prompt_limit is None:
            fitting = self._list_fitting(with_images=with_images)
            having = [each.id for each in fitting if each.negative_prompt_limit is not None]
            raise _no_such_parameter("negative_prompt", model, having)
        return _check_text("negative prompt", text, model.negative_prompt_limit, model)

    def _check_prompt_extend(self, value: bool | None, model: Model, *, with_images: bool) -> bool | None:
        if model.has_prompt_extend:
            # The service's own default, sent all the same so that an order says what it does.
            return model.is_extended_by_default if value is None else _check_switch("prompt_extend", value)
        if value is None:
            return None
        having = [each.id for each in self._list_fitting(with_images=with_images) if each.has_prompt_extend]
        raise _no_such_parameter("prompt_extend", model, having)


def _draws_from_words(model: Model) -> bool:
    return model.inputs is None or model.inputs.least == 0


def _name_with_prices(models: Sequence[Model], region: str, size: str | None) -> str:
    """Name the models that draw a size, with what such an image costs: another model may be dearer."""
    prices = [model.price(region) for model in models]
    named = [
        f"{model.id}, {format_amount(price.of_image(size))} {price.currency} an image" if price else model.id
        for model, price in zip(models, prices, strict=True)
    ]
    dates = sorted({price.as_of for price in prices if price})
    asking = f" (as of {' and '.join(dates)}; ask the person first)" if dates else ""
    return f"Models of {region} that draw it: {'; '.join(named)}{asking}."


def _tell_wide(grade: str, rules: Sequence[SizeRule]) -> str:
    """Say how pictures of a grade that are no squares are ordered, if the models draw them."""
    long, short = GRADES[grade], GRADES[grade] * 9 // 16
    fitting = all(rule.allows(f"{long}*{short}") for rule in rules)
    return f" {grade} is square; 16:9 is size={long}*{short}, 9:16 size={short}*{long}." if fitting else ""


def _no_such_parameter(name: str, model: Model, having: list[str]) -> RequestRefusedError:
    return RequestRefusedError(
        f"{model.id} has no parameter {name}.",
        f"Leave it out, or use a model that has it: {', '.join(having) or 'none has'}.",
    )


def _check_prompt(text: str, model: Model) -> str:
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise RequestRefusedError("The prompt is empty.", "Say what the picture shows.")
    return _check_text("prompt", text, model.prompt_limit, model)


def _check_text(name: str, text: str, limit: int, model: Model) -> str:
    if model.is_prompt_limit_certain and len(text) > limit:
        raise RequestRefusedError(
            f"The {name} has {len(text)} characters, and {model.id} reads at most {limit}.",
            f"Shorten it by {len(text) - limit}; the service would cut off the end without a word.",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestRefusedError(
            f"The {name} has half a character at position {error.start + 1} (an unpaired surrogate).",
            "Send it as well-formed Unicode.",
        ) from error
    return text


def _measure(text: str, unit: LengthUnit) -> int:
    """Say how long a text is; tokens are only about counted."""
    if unit is LengthUnit.CHARACTERS:
        return len(text)
    latin = sum(sign.isascii() for sign in text)
    return len(text) - latin + latin // _CHARACTERS_A_TOKEN


def _read_images(images: Sequence[object] | None) -> tuple[InputImage, ...]:
    """Read the references; what none of them can be is refused, never dropped."""
    given = list(images or ())
    if len(given) > MOST_IMAGES:
        raise RequestRefusedError(
            f"images has {len(given)} pictures, and {MOST_IMAGES} are the most that any model takes.",
            "Leave some out, or combine them in several orders.",
        )
    inputs: list[InputImage] = []
    for number, each in enumerate(given, start=1):
        if not isinstance(each, str) or not each.strip():
            raise RequestRefusedError(
                f"images: number {number} of {len(given)} is {_echo(each)} and names no picture.",
                "Name a picture there, or leave the member out.",
            )
        inputs.append(read_reference(each))
    return tuple(inputs)


def _takes(model: Model, inputs: int) -> bool:
    least, most = model.count_inputs({})
    return least <= inputs <= most


def _range(least: int, most: int) -> str:
    return str(most) if least == most else f"{least} to {most}"


def _check_count(n: object, model: Model, options: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """
    Check how many images are wanted, and give the options with what they say of it.

    Of a set, and of text with pictures, that is the most.
    """
    mode = model.find_mode(options)
    most = model.max_n if mode is None else mode.max_n
    usual = 1 if mode is None else mode.default_n
    wanted = usual if n is None else n
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted > most:
        raise _refuse_count(wanted, most, model, mode)
    count = _check_whole("n", wanted, 1, most, f"{model.id} draws at most that many")
    if mode is None or mode.count_option is None:
        return count, options
    named = options.get(mode.count_option, count)
    if n is not None and count not in (1, named):
        raise RequestRefusedError(
            f"n is {count} and {mode.count_option} is {named}, and both say how many images there are at most.",
            f"Leave {mode.count_option} out.",
        )
    return named, options | {mode.count_option: named}


def _refuse_count(wanted: int, most: int, model: Model, mode: Mode | None) -> RequestRefusedError:
    """Say how more images than a model draws at once are ordered."""
    kind = "in such an order" if mode is not None else "in one order"
    bounds = f"n must be a whole number from 1 to {most}" if most > 1 else "n must be 1"
    problem = f"n is {_echo(wanted)}, and {model.id} draws at most {most} {kind}; {bounds}."
    orders = -(-wanted // most)
    if orders > _MOST_ORDERS:
        return RequestRefusedError(problem, "Order fewer, in several calls.")
    parts = [most] * (wanted // most) + ([wanted % most] if wanted % most else [])
    counts = ", ".join(f"n={part}" for part in parts)
    split = f"Order {orders} times" if most == 1 else f"Split it into orders with {counts}"
    sets = next((each for each in model.modes if mode is None and wanted <= each.max_n), None)
    related = (
        f" For pictures that belong together, {sets.option}=true in options takes n to {sets.max_n}." if sets else ""
    )
    return RequestRefusedError(problem, f"{split}, each of them fresh.{related}")


def _check_whole(name: str, value: object, least: int, most: int, remark: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RequestRefusedError(
            f"{name} is {_echo(value)}, and must be a whole number from {least} to {most}.",
            f"Choose {name} in that range; {remark}.",
        )
    return value


def _check_switch(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise RequestRefusedError(f"{name} is {_echo(value)}, and must be true or false.", "Choose one of them.")
    return value


def _echo(value: object) -> str:
    # Python does not print whole numbers of more than a few thousand digits.
    try:
        return repr(value)[:_ECHO]
    except ValueError:
        return "far too long"
