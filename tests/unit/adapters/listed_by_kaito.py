"""What KAITO v0.12 and older versions list, in tables of our own: presets/ is held against them.

Sources: kaito-project/kaito@056b8280b presets/workspace/models/model_catalog.yaml,
pkg/utils/plugin/plugin.go (aliases) and pkg/sku; machines of old: pkg/sku at tag v0.3.0.
"""

from typing import Final, NamedTuple


class ListedModel(NamedTuple):
    """`kv_bytes_per_token` is by KAITO's formula: every layer, 16 bits. Texts are empty and disks 0
    where there is none."""

    hf_id: str
    alias: str
    size_gib: float
    disk_gib: int
    token_limit: int
    kv_bytes_per_token: int
    tuning_disk_gib: int


class ListedMachine(NamedTuple):
    """Memory is the brochure's, of all GPUs together."""

    cloud: str
    name: str
    gpus: int
    memory_gib: int
    nvme: bool
    compute_capability: str


def _models(table: str) -> list[ListedModel]:
    rows = [line.split() for line in table.strip().splitlines()]
    return [
        ListedModel(hf_id, "" if alias == "-" else alias, float(size), *map(int, rest))
        for hf_id, alias, size, *rest in rows
    ]


def _machines(table: str) -> list[ListedMachine]:
    rows = [line.split() for line in table.strip().splitlines()]
    return [
        ListedMachine(cloud, name, int(gpus), int(memory), nvme == "nvme", capability)
        for cloud, name, gpus, memory, nvme, capability in rows
    ]


# Hugging Face id, alias, size GiB, disk GiB, tokens, KV bytes per token, disk for tuning GiB
MODELS: Final = _models("""
microsoft/phi-4 phi-4 27.31 107 16384 204800 150
microsoft/Phi-4-mini-instruct phi-4-mini-instruct 7.15 87 131072 131072 70
deepseek-ai/DeepSeek-R1-Distill-Llama-8B deepseek-r1-distill-llama-8b 14.96 94 131072 131072 0
deepseek-ai/DeepSeek-R1-Distill-Qwen-14B deepseek-r1-distill-qwen-14b 27.51 107 131072 196608 0
microsoft/Phi-3-mini-4k-instruct phi-3-mini-4k-instruct 7.12 87 4096 393216 80
microsoft/Phi-3-mini-128k-instruct phi-3-mini-128k-instruct 7.12 87 131072 393216 80
microsoft/Phi-3-medium-4k-instruct phi-3-medium-4k-instruct 26.0 106 4096 204800 120
microsoft/Phi-3-medium-128k-instruct phi-3-medium-128k-instruct 26.0 106 131072 204800 120
microsoft/Phi-3.5-mini-instruct phi-3.5-mini-instruct 7.12 87 131072 393216 70
Qwen/Qwen2.5-Coder-7B-Instruct qwen2.5-coder-7b-instruct 14.19 94 32768 57344 110
Qwen/Qwen2.5-Coder-32B-Instruct qwen2.5-coder-32b-instruct 61.03 141 32768 262144 230
openai/gpt-oss-20b gpt-oss-20b 25.63 105 131072 49152 0
openai/gpt-oss-120b gpt-oss-120b 121.54 201 131072 73728 0
meta-llama/Llama-3.1-8B-Instruct llama-3.1-8b-instruct 14.96 94 131072 131072 0
meta-llama/Llama-3.3-70B-Instruct llama-3.3-70b-instruct 131.42 211 131072 327680 0
mistralai/Mistral-7B-v0.3 mistral-7b 13.5 93 32768 131072 90
mistralai/Mistral-7B-Instruct-v0.3 mistral-7b-instruct 13.5 93 32768 131072 0
mistralai/Ministral-3-3B-Instruct-2512 ministral-3-3b-instruct 4.35 84 262144 106496 0
mistralai/Ministral-3-8B-Instruct-2512 ministral-3-8b-instruct 9.7 89 262144 139264 0
mistralai/Ministral-3-14B-Instruct-2512 ministral-3-14b-instruct 14.65 94 262144 163840 0
google/gemma-3-4b-it gemma-3-4b-instruct 8.01 88 131072 139264 0
google/gemma-3-27b-it gemma-3-27b-instruct 51.1 131 131072 507904 0
deepseek-ai/DeepSeek-R1-0528 deepseek-r1-0528 641.3 721 163840 70272 0
deepseek-ai/DeepSeek-V3-0324 deepseek-v3-0324 641.3 721 163840 70272 0
mistralai/Mistral-Large-3-675B-Instruct-2512 mistral-large-3-675b-instruct 634.7 714 294912 70272 0
nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16 - 230.25 310 262144 90112 0
nvidia/Nemotron-Cascade-2-30B-A3B - 58.82 138 262144 53248 0
nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16 - 58.82 138 262144 53248 0
nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16 - 24.55 104 131072 253952 0
nvidia/NVIDIA-Nemotron-Nano-9B-v2 - 16.56 96 131072 229376 0
nvidia/NVIDIA-Nemotron-3-Nano-4B-BF16 - 7.4 87 262144 172032 0
Qwen/Qwen3-8B-AWQ - 5.68 85 40960 147456 0
google/gemma-4-31B-it - 58.25 138 262144 983040 0
google/gemma-4-26B-A4B-it - 48.07 128 262144 245760 0
google/gemma-4-E4B-it - 14.89 94 131072 86016 0
google/gemma-4-E2B-it - 9.54 89 131072 35840 0
mistralai/Mistral-Small-4-119B-2603 - 112.63 192 1048576 23040 0
mistralai/Mistral-Small-4-119B-2603-NVFP4 - 65.95 145 1048576 23040 0
Qwen/Qwen3.5-2B - 4.24 84 262144 49152 0
Qwen/Qwen3.5-4B - 8.68 88 262144 131072 0
Qwen/Qwen3.5-9B - 17.98 97 262144 131072 0
Qwen/Qwen3.5-122B-A10B-GPTQ-Int4 - 73.47 153 262144 98304 0
Qwen/Qwen3.5-122B-A10B - 232.99 312 262144 98304 0
Qwen/Qwen3.6-35B-A3B-FP8 - 34.9 114 262144 81920 0
Qwen/Qwen3.6-35B-A3B - 66.97 146 262144 81920 0
Qwen/Qwen3.6-27B - 51.75 131 262144 262144 0
Qwen/Qwen3.5-397B-A17B-GPTQ-Int4 - 219.56 299 262144 122880 0
moonshotai/Kimi-K2.5 - 554.32 634 262144 70272 0
moonshotai/Kimi-K2.6 - 554.32 634 262144 70272 0
MiniMaxAI/MiniMax-M2.7 - 214.34 294 204800 253952 0
mistralai/Mistral-Medium-3.5-128B - 124.43 204 262144 360448 0
deepseek-ai/DeepSeek-V4-Flash-0731 - 155.43 235 1048576 88064 0
deepseek-ai/DeepSeek-V4-Pro - 805.34 885 1048576 124928 0
google/gemma-4-12B-it - 22.28 102 262144 393216 0
zai-org/GLM-5.2-FP8 - 703.75 783 1048576 89856 0
moonshotai/Kimi-K2.7-Code - 554.32 634 262144 70272 0
nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-NVFP4 - 328.13 408 262144 110592 0
deepseek-ai/DeepSeek-V3.2 - 642.14 722 163840 70272 0
ibm-granite/granite-4.1-8b - 16.38 96 131072 163840 0
Qwen/Qwen3.8-27B - 51.75 131 262144 262144 0
""")

# Cloud, name, GPUs, memory GiB, local disk, compute capability
MACHINES: Final = _machines("""
azure Standard_NV36ads_A10_v5 1 24 - 8.6
azure Standard_NV72ads_A10_v5 2 48 - 8.6
azure Standard_NC24ads_A100_v4 1 80 nvme 8.0
azure Standard_NC48ads_A100_v4 2 160 nvme 8.0
azure Standard_NC96ads_A100_v4 4 320 nvme 8.0
azure Standard_ND96asr_A100_v4 8 320 - 8.0
azure Standard_ND96amsr_A100_v4 8 640 nvme 8.0
azure Standard_NC40ads_H100_v5 1 94 nvme 9.0
azure Standard_NC80adis_H100_v5 2 188 nvme 9.0
azure Standard_ND96isr_H100_v5 8 640 nvme 9.0
azure Standard_NCC40ads_H100_v5 1 94 - 9.0
azure Standard_ND96isr_H200_v5 8 1128 nvme 9.0
azure Standard_NG32ads_V620_v1 1 32 - unknown
azure Standard_NG32adms_V620_v1 1 32 - unknown
aws p4d.24xlarge 8 320 nvme 8.0
aws p4de.24xlarge 8 640 nvme 8.0
aws p5.48xlarge 8 640 nvme 9.0
aws p5e.48xlarge 8 1128 nvme 9.0
aws p5en.48xlarge 8 1128 nvme 9.0
aws g6.xlarge 1 24 nvme 8.9
aws g6.2xlarge 1 24 nvme 8.9
aws g6.4xlarge 1 24 nvme 8.9
aws g6.8xlarge 1 24 nvme 8.9
aws g6.16xlarge 1 24 nvme 8.9
aws gr6.4xlarge 1 24 nvme 8.9
aws gr6.8xlarge 1 24 nvme 8.9
aws g6.12xlarge 4 96 nvme 8.9
aws g6.24xlarge 4 96 nvme 8.9
aws g6.48xlarge 8 192 nvme 8.9
aws g5.xlarge 1 24 nvme 8.6
aws g5.2xlarge 1 24 nvme 8.6
aws g5.4xlarge 1 24 nvme 8.6
aws g5.8xlarge 1 24 nvme 8.6
aws g5.12xlarge 4 96 nvme 8.6
aws g5.16xlarge 1 24 nvme 8.6
aws g5.24xlarge 4 96 nvme 8.6
aws g5.48xlarge 8 192 nvme 8.6
aws g4ad.xlarge 1 8 nvme unknown
aws g4ad.2xlarge 1 8 nvme unknown
aws g4ad.4xlarge 1 8 nvme unknown
aws g4ad.8xlarge 2 16 nvme unknown
aws g4ad.16xlarge 4 32 nvme unknown
aws trn1.2xlarge 1 32 nvme unknown
aws trn1.32xlarge 16 512 nvme unknown
aws trn1n.32xlarge 16 512 nvme unknown
aws inf2.xlarge 1 32 - unknown
aws inf2.8xlarge 1 32 - unknown
aws inf2.24xlarge 6 192 - unknown
aws inf2.48xlarge 12 384 - unknown
arc Standard_NC4_A2 1 16 - 8.6
arc Standard_NC8_A2 1 16 - 8.6
arc Standard_NC16_A2 2 32 - 8.6
arc Standard_NC32_A2 2 32 - 8.6
arc Standard_NC4_A16 1 16 - 8.6
arc Standard_NC8_A16 1 16 - 8.6
arc Standard_NC16_A16 2 32 - 8.6
arc Standard_NC32_A16 2 32 - 8.6
""")

LEGACY_MACHINES: Final = _machines("""
azure Standard_NC6s_v3 1 16 - 7.0
azure Standard_NC12s_v3 2 32 - 7.0
azure Standard_NC24s_v3 4 64 - 7.0
azure Standard_NC24rs_v3 4 64 - 7.0
azure Standard_NC4as_T4_v3 1 16 - 7.5
azure Standard_NC8as_T4_v3 1 16 - 7.5
azure Standard_NC16as_T4_v3 1 16 - 7.5
azure Standard_NC64as_T4_v3 4 64 - 7.5
azure Standard_NV6 1 8 - 5.2
azure Standard_NV12 2 16 - 5.2
azure Standard_NV24 4 32 - 5.2
azure Standard_NV12s_v3 1 8 - 5.2
azure Standard_NV24s_v3 2 16 - 5.2
azure Standard_NV48s_v3 4 32 - 5.2
azure Standard_NV32as_v4 1 16 - unknown
aws p2.xlarge 1 12 - 3.7
aws p2.8xlarge 8 96 - 3.7
aws p2.16xlarge 16 192 - 3.7
aws p3.2xlarge 1 16 - 7.0
aws p3.8xlarge 4 64 - 7.0
aws p3.16xlarge 8 128 - 7.0
aws p3dn.24xlarge 8 256 - 7.0
aws g5g.xlarge 1 16 - 7.5
aws g5g.2xlarge 1 16 - 7.5
aws g5g.4xlarge 1 16 - 7.5
aws g5g.8xlarge 1 16 - 7.5
aws g5g.16xlarge 2 32 - 7.5
aws g5g.metal 2 32 - 7.5
aws g4dn.xlarge 1 16 - 7.5
aws g4dn.2xlarge 1 16 - 7.5
aws g4dn.4xlarge 1 16 - 7.5
aws g4dn.8xlarge 1 16 - 7.5
aws g4dn.16xlarge 1 16 - 7.5
aws g4dn.12xlarge 4 64 - 7.5
aws g4dn.metal 8 128 - 7.5
aws g3s.xlarge 1 8 - 5.2
aws g3s.4xlarge 1 8 - 5.2
aws g3s.8xlarge 2 16 - 5.2
aws g3s.16xlarge 4 32 - 5.2
""")
