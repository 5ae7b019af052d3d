"""From the configuration to the parts: the one place where options become the arguments of somebody's constructor."""

from auth.ephemeral import SharedSecret, TimeLimitedCredentials
from auth.source import Chain, CredentialSource, StaticUsers
from turnserver.config import Config

__all__ = [
    "credential_source",
]


def credential_source(config: Config) -> CredentialSource:
    """Static users first, then time-limited credentials."""
    sources: list[CredentialSource] = []
    if config.auth.users:
        sources.append(StaticUsers({name: secret.get_secret_value() for name, secret in config.auth.users.items()}))
    if config.auth.shared_secrets:
        shared = [
            SharedSecret(entry.secret.get_secret_value().encode(), entry.hash) for entry in config.auth.shared_secrets
        ]
        sources.append(TimeLimitedCredentials(shared, config.auth.separator))
    return Chain(sources)
