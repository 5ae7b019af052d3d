"""The configuration: one schema, read from a file and the environment, with all problems reported at once."""

from turnserver.config.auth import AuthConfig, HookConfig, SharedSecretConfig
from turnserver.config.changes import Changes, take_over
from turnserver.config.external import External
from turnserver.config.loader import MAX_FILE_BYTES, Loaded, load, load_mapping
from turnserver.config.models import (
    CertificateConfig,
    Config,
    LimitsConfig,
    Listener,
    LogConfig,
    PeersConfig,
    RelayConfig,
    TlsConfig,
)
from turnserver.config.reference import json_schema, reference, show
from turnserver.config.secret import Secret
from turnserver.config.signaling import SignalingConfig
from turnserver.config.stun import BehaviorDiscoveryConfig, StunConfig

__all__ = [
    "MAX_FILE_BYTES",
    "AuthConfig",
    "BehaviorDiscoveryConfig",
    "CertificateConfig",
    "Changes",
    "Config",
    "External",
    "HookConfig",
    "LimitsConfig",
    "Listener",
    "Loaded",
    "LogConfig",
    "PeersConfig",
    "RelayConfig",
    "Secret",
    "SharedSecretConfig",
    "SignalingConfig",
    "StunConfig",
    "TlsConfig",
    "json_schema",
    "load",
    "load_mapping",
    "reference",
    "show",
    "take_over",
]
