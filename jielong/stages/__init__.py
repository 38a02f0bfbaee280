"""The verbs: each stage is a Config and a run(config), assembled from the rooms below."""

STAGES = {
    "prepare": "jielong.stages.prepare:PrepareConfig",
    "tokenize": "jielong.stages.tokenize:TokenizeConfig",
    "pretrain": "jielong.stages.pretrain:PretrainConfig",
    "finetune": "jielong.stages.finetune:FinetuneConfig",
    "sft": "jielong.stages.sft:SFTConfig",
    "reward": "jielong.stages.reward:RewardConfig",
    "ppo": "jielong.stages.ppo:PPOConfig",
    "evaluate": "jielong.stages.evaluate:EvaluateConfig",
    "ladder": "jielong.stages.ladder:LadderConfig",
    "quickstart": "jielong.stages.quickstart:QuickstartConfig",
}
"""Where each stage's configuration is; imported only when that stage is asked for."""
