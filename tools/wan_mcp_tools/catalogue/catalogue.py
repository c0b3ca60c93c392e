"""What can be ordered here, and the check of every order before it costs money."""

from collections.abc import Mapping, Sequence

from wan_mcp_tools.catalogue.model import EXTRA_MODELS_SETTING, Model, WireProtocol, format_amount
from wan_mcp_tools.catalogue.regions import REGIONS, SANDBOX, find_region
from wan_mcp_tools.catalogue.sizes import GRADES, read_grade
from wan_mcp_tools.catalogue.wan import WAN_MODELS
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError
from wan_mcp_tools.domain.requests import ImageRequest

MAX_SEED = 2_147_483_647
"""Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference"""

_ECHO = 40
_LONGEST_ID = 60
MODELS: tuple[Model, ...] = WAN_MODELS
"""Every model of this release, by family, newest first."""


class Catalogue:
    """
    The models that can be ordered here, and the operator's choices among them.

    `extra` are the operator's rows: one with the id of a built-in model changes what it names and keeps the rest.
    `keyed_regions` are the names of the regions that have a key; `prefer_sync` orders by the synchronous protocol
    where a model has it. Models are found by their ids, in any spelling and case.

    Raises:
        SettingsError: a row of `extra` is wrong.
    """

    def __init__(
        self,
        extra: Sequence[Mapping[str, object]] = (),
        *,
        default_model: str = "wan2.6-t2i",
        default_region: str = "singapore",
        keyed_regions: frozenset[str] = frozenset(),
        prefer_sync: bool = False,
    ) -> None:
        rows = {model.id: model for model in MODELS}
        if extra:
            # Few operators have such rows, and the models that check them would slow down every start.
            from wan_mcp_tools.catalogue.extra_models import read_extra_models  # noqa: PLC0415

            rows.update((model.id, model) for model in read_extra_models(extra, built_in=MODELS))
        self.models: tuple[Model, ...] = tuple(rows.values())
        self.default_model = default_model
        self.default_region = default_region
        self.keyed_regions = keyed_regions
        self.prefer_sync = prefer_sync
        self._by_name = {name.lower(): model for model in self.models for name in (model.id, *model.aliases)}

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
                f"Use one of: {known}. The operator can add a newer Wan model with {EXTRA_MODELS_SETTING}.",
            )
        return model

    def make_request(
        self,
        *,
        prompt: str,
        negative_prompt: str | None = None,
        model: str | None = None,
        size: str | None = None,
        n: int | None = 1,
        seed: int | None = None,
        prompt_extend: bool | None = None,
        watermark: bool | None = False,
        region: str | None = None,
        output_dir: str | None = None,
        filename: str | None = None,
    ) -> ImageRequest:
        """
        Check an order and complete it with the defaults.

        Raises:
            RequestRefusedError: an argument is not one that the model or the region takes.
            SettingsError: the call names no model, and the operator's default is none that is known.
        """
        chosen = self._choose_model(model)
        chosen_region = self._choose_region(chosen, region)
        return ImageRequest(
            model=chosen.id,
            region=chosen_region,
            prompt=_check_prompt(prompt, chosen),
            size=self._resolve_size(size, chosen, chosen_region),
            n=1 if n is None else _check_whole("n", n, 1, chosen.max_n, f"{chosen.id} draws at most that many"),
            negative_prompt=self._check_negative_prompt(negative_prompt, chosen),
            seed=None if seed is None else _check_whole("seed", seed, 0, MAX_SEED, "leave it out for a random one"),
            prompt_extend=self._check_prompt_extend(prompt_extend, chosen),
            watermark=False if watermark is None else _check_switch("watermark", watermark),
            output_dir=output_dir,
            filename=filename,
        )

    def choose_protocol(self, request: ImageRequest) -> WireProtocol:
        """Give the protocol by which the request is ordered."""
        model = self.find(request.model)
        return model.choose_protocol(request.region, prefer_sync=self.prefer_sync)

    def _choose_model(self, named: str | None) -> Model:
        if named and named.strip():
            return self.find(named)
        try:
            return self.find(self.default_model)
        except RequestRefusedError as error:
            raise SettingsError(f"WAN_MCP_MODEL: {error.message}", error.advice) from error

    def _choose_region(self, model: Model, named: str | None) -> str:
        if named and named.strip():
            region = find_region(named).name
            if region in model.region_names:
                return region
            offering = self._list_regions()
            if region not in offering:
                raise RequestRefusedError(
                    f"There is no Wan model in {region}.", f"Regions that have some: {', '.join(offering)}."
                )
            raise RequestRefusedError(
                f"{model.id} is not offered in {region}.",
                f"Regions that offer it: {', '.join(model.region_names)}. {self._name_models_of(region)}",
            )
        if self.default_region in model.region_names:
            return self.default_region
        others = [each.name for each in REGIONS if each.name in model.region_names and each != SANDBOX]
        for region in others:
            if region in self.keyed_regions:
                return region
        settings = [f"DASHSCOPE_API_KEY_{region.upper()}" for region in others]
        raise RequestRefusedError(
            f"{model.id} is not offered in {self.default_region}, and no region that offers it has a key.",
            f"Regions that offer it: {', '.join(others) or 'none but the sandbox'}. "
            + (f"Set {' or '.join(settings)}. " if settings else "")
            + self._name_models_of(self.default_region),
        )

    def _list_regions(self) -> list[str]:
        """Name the regions that offer any model, in the order of the table."""
        offering = {region for model in self.models for region in model.region_names}
        return [region.name for region in REGIONS if region.name in offering]

    def _name_models_of(self, region: str) -> str:
        names = [model.id for model in self.models if region in model.region_names]
        return f"Models of {region}: {', '.join(names) or 'none'}."

    def _resolve_size(self, size: str | None, model: Model, region: str) -> str:
        try:
            return model.sizes.resolve(size)
        except RequestRefusedError as error:
            others = [other for other in self.models if region in other.region_names and other.sizes.allows(size)]
            hint = f" {_name_with_prices(others, region)}" if others else ""
            advice = error.advice
            if others and (grade := read_grade(size)):
                # Smaller sizes are no help to somebody who asked for the grade.
                advice = f"It draws {model.sizes.limits.describe()}."
                hint += _tell_wide(grade, others)
            raise RequestRefusedError(
                f"{model.id} does not draw this size: {error.message}", advice + hint
            ) from error

    def _check_negative_prompt(self, text: str | None, model: Model) -> str | None:
        if text is None or not text.strip():
            return None
        if model.negative_prompt_limit is None:
            having = [each.id for each in self.models if each.negative_prompt_limit is not None]
            raise _no_such_parameter("negative_prompt", model, having)
        return _check_text("negative prompt", text, model.negative_prompt_limit, model)

    def _check_prompt_extend(self, value: bool | None, model: Model) -> bool | None:
        if model.has_prompt_extend:
            # The service's own default, sent all the same so that an order says what it does.
            return True if value is None else _check_switch("prompt_extend", value)
        if value is None:
            return None
        having = [each.id for each in self.models if each.has_prompt_extend]
        raise _no_such_parameter("prompt_extend", model, having)


def _name_with_prices(models: Sequence[Model], region: str) -> str:
    """Name the models that draw a size, with what an image costs: another model may be dearer."""
    prices = [model.price(region) for model in models]
    named = [
        f"{model.id}, {format_amount(price.amount)} {price.currency} an image" if price else model.id
        for model, price in zip(models, prices, strict=True)
    ]
    dates = sorted({price.as_of for price in prices if price})
    asking = f" (as of {' and '.join(dates)}; ask the person first)" if dates else ""
    return f"Models of {region} that draw it: {'; '.join(named)}{asking}."


def _tell_wide(grade: str, models: Sequence[Model]) -> str:
    """Say how pictures of a grade that are no squares are ordered, if the models draw them."""
    long, short = GRADES[grade], GRADES[grade] * 9 // 16
    fitting = all(model.sizes.allows(f"{long}*{short}") for model in models)
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
    if len(text) > limit:
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
