"""Seal a job's extra environment variables for the time that they wait in the database.

MLflow's own envelope encryption does the work: a fresh key for every job, wrapped by the key that
derives from MLFLOW_CRYPTO_KEK_PASSPHRASE. The job's id is authenticated with the text, so a seal
that is moved to another row does not open there.
"""

import base64
import json

from mlflow.exceptions import MlflowException
from mlflow.server.jobs.errors import SealedEnvironmentUnreadable
from mlflow.utils.crypto import KEKManager, _decrypt_secret, _encrypt_secret

_PURPOSE = "job-environment"


def seal(job_id: str, envs: dict[str, str]) -> str:
    """Encrypt `envs` for the job `job_id` and for nothing else.

    Returns:
        JSON text that is safe to store and tells nothing but its own length.
    """
    sealed = _encrypt_secret(envs, KEKManager(), secret_id=job_id, secret_name=_PURPOSE)
    return json.dumps(
        {
            "kek_version": sealed.kek_version,
            "wrapped_dek": base64.b64encode(sealed.wrapped_dek).decode(),
            "encrypted_value": base64.b64encode(sealed.encrypted_value).decode(),
        }
    )


def open_sealed(job_id: str, sealed: str) -> dict[str, str]:
    """Decrypt what `seal` made for the same job.

    Raises:
        SealedEnvironmentUnreadable: another passphrase, another job's seal, or damaged text.
    """
    try:
        fields = json.loads(sealed)
        return _decrypt_secret(
            encrypted_value=base64.b64decode(fields["encrypted_value"], validate=True),
            wrapped_dek=base64.b64decode(fields["wrapped_dek"], validate=True),
            kek_manager=KEKManager(kek_version=fields["kek_version"]),
            secret_id=job_id,
            secret_name=_PURPOSE,
        )
    except (MlflowException, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # Not chained: the cause would bring pieces of the sealed text into a log.
        raise SealedEnvironmentUnreadable(job_id) from None
