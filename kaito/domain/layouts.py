"""Layouts that an engine starts with, on so many machines: kaito's own, and those whose parallel
sizes a user chose."""

from collections.abc import Iterator
from typing import Final

from kaito.domain.candidate import Layout
from kaito.domain.errors import Problem
from kaito.domain.gpu import InstanceType
from kaito.domain.model import EngineName, ModelProfile
from kaito.domain.server_request import NOTHING_ASKED, ServerRequest, at

__all__ = ["asked_layouts", "layout_problems", "other_layouts", "usual_layouts"]

_REMEDY: Final = "Remove it: the fit lays the model out"


def usual_layouts(
    model: ModelProfile,
    instance_type: InstanceType,
    engine: EngineName,
    nodes: int,
    asked: ServerRequest,
) -> Iterator[Layout]:
    """The layouts to be taken where they hold the context, most replicas first; with the parallel
    sizes that are asked for, where any is."""
    if asked.parallel_sizes:
        yield from asked_layouts(model, instance_type, asked, nodes)
        return
    gpus = instance_type.gpu_count
    if engine is EngineName.TRANSFORMERS:  # device_map=auto uses every GPU of its one node
        if nodes == 1:
            yield Layout(pipeline_parallel=min(gpus, model.layers))
        return
    shards = max(n for n in range(1, gpus + 1) if gpus % n == 0 and model.attention.splits_into(n))
    stages = nodes * (gpus // shards)
    if nodes == 1:
        if shards > 1 and 2 * model.weight_bytes < instance_type.gpu.memory_bytes:
            yield Layout(data_parallel=gpus)
        yield Layout(tensor_parallel=shards, data_parallel=gpus // shards)
    if 1 < stages <= model.layers:
        yield Layout(tensor_parallel=shards, pipeline_parallel=stages, nodes=nodes)


def other_layouts(
    model: ModelProfile,
    instance_type: InstanceType,
    engine: EngineName,
    nodes: int,
    asked: ServerRequest,
) -> Iterator[Layout]:
    """Every other way for vLLM to use so many machines. Fewer shards answer more slowly, and may
    hold what more do not: NCCL takes its part, and what is not divided among shards is divided
    among stages."""
    if asked.parallel_sizes or engine is not EngineName.VLLM or instance_type.gpu_count == 1:
        return
    usual = {*usual_layouts(model, instance_type, engine, nodes, asked)}
    for layout in asked_layouts(model, instance_type, NOTHING_ASKED, nodes):
        if layout not in usual:
            yield layout


def asked_layouts(
    model: ModelProfile, instance_type: InstanceType, asked: ServerRequest, nodes: int
) -> Iterator[Layout]:
    """Layouts with the sizes that are asked for that use every GPU of so many machines: shards as
    many as possible within a machine, then replicas, which never span machines, then stages."""
    per_node = instance_type.gpu_count
    gpus = nodes * per_node
    shards = (asked.tensor_parallel,) if asked.tensor_parallel else range(per_node, 0, -1)
    for tensor in shards:
        if per_node % tensor or not model.attention.splits_into(tensor):
            continue
        stages = (asked.pipeline_parallel,) if asked.pipeline_parallel else range(1, gpus + 1)
        for pipeline in stages:
            replicas, left = divmod(gpus, tensor * pipeline)
            if (
                not left
                and pipeline <= model.layers
                and asked.data_parallel in {None, replicas}
                and (nodes == 1 or replicas == 1)
            ):
                yield Layout(
                    tensor_parallel=tensor,
                    pipeline_parallel=pipeline,
                    data_parallel=replicas,
                    nodes=nodes,
                )


def layout_problems(
    model: ModelProfile, instance_type: InstanceType, asked: ServerRequest, node_limit: int
) -> Iterator[Problem]:
    """Why vLLM cannot run the model with the parallel sizes that are asked for, on up to
    `node_limit` machines; nothing where it can, or none is asked for."""
    sizes = asked.parallel_sizes
    found = [*_size_problems(model, instance_type, asked)]
    yield from found
    if found or not sizes:
        return
    for nodes in range(1, node_limit + 1):
        if any(asked_layouts(model, instance_type, asked, nodes)):
            return
    gpus, name = instance_type.gpu_count, instance_type.name
    product = " x ".join(f"{flag} {size}" for flag, size in sizes.items())
    machines = f", or of up to {node_limit} of them" if node_limit > 1 else ""
    yield Problem(
        field=at(next(iter(sizes))),
        message=f"{product} cannot use every GPU of {name}, which has {gpus}{machines}",
        remedy=_REMEDY if len(sizes) == 1 else _REMEDY.replace("it", "one of them", 1),
        rule="config-parallel",
    )


def _size_problems(
    model: ModelProfile, instance_type: InstanceType, asked: ServerRequest
) -> Iterator[Problem]:
    gpus = instance_type.gpu_count
    for flag in ("tensor-parallel-size", "data-parallel-size"):
        size = asked.parallel_sizes.get(flag, 1)
        if size > gpus:
            yield Problem(
                field=at(flag),
                message=f"must be a whole number from 1 to {gpus}, the GPUs of "
                f"{instance_type.name}, got {size}",
                remedy=_REMEDY,
                rule="config-parallel",
            )
    tensor, stages, heads = asked.tensor_parallel, asked.pipeline_parallel, model.attention
    if tensor is not None and tensor <= gpus and not heads.splits_into(tensor):
        yield Problem(
            field=at("tensor-parallel-size"),
            message=f"{model.name} has {heads.heads} attention heads and {heads.kv_heads} KV "
            f"heads, which cannot be split {tensor} ways",
            remedy=_REMEDY,
            rule="config-heads",
        )
    if stages is not None and stages > model.layers:
        yield Problem(
            field=at("pipeline-parallel-size"),
            message=f"must be at most {model.layers}, the layers of {model.name}, got {stages}",
            remedy=_REMEDY,
            rule="config-stages",
        )
