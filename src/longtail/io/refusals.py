"""What an S3 storage's refusal means to the user."""

from typing import Any

from botocore import UNSIGNED
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

_KEYS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_EXPIRED = "The credentials have expired: get new ones"
ADVICE = {  # by the code of an answer
    "NoSuchBucket": "Check the bucket's name, or create it",
    "NoSuchKey": "There is no such object",
    "404": "There is no such object, or no such bucket",
    "InvalidAccessKeyId": f"The server does not know this key. {_KEYS}",
    "SignatureDoesNotMatch": f"The secret does not belong to the key. {_KEYS}",
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": "The server does not know this session token: get new credentials",
    "RequestTimeTooSkewed": "The clocks differ: set this machine's",
    "PermanentRedirect": "The bucket is in another region: set AWS_DEFAULT_REGION",
    "AuthorizationHeaderMalformed": "The bucket is in another region: set AWS_DEFAULT_REGION",
}


def advice(error: BaseException, *, client: Any) -> str:
    """Return the next act after an exception of boto3.

    What boto3's transfers raise is looked through to what they were raised for.

    Args:
        client: the one that asked; None if there could not even be one.
    """
    while not isinstance(error, BotoCoreError | ClientError) and error.__context__:
        error = error.__context__
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"There are no complete credentials. {_KEYS}"
    if isinstance(error, ConnectionError | HTTPClientError):
        return "No server answers there: check AWS_ENDPOINT_URL and the network, then try again"
    if not isinstance(error, ClientError):
        return "Check the address, AWS_ENDPOINT_URL and the credentials"
    if error.response["ResponseMetadata"].get("HTTPStatusCode", 0) >= 500:
        return "The server is overloaded or broken: try again later"
    if client.meta.config.signature_version is UNSIGNED:
        return f"No credentials were found, so the requests were anonymous. {_KEYS}"
    return ADVICE.get(
        str(error.response["Error"]["Code"]),
        "Check the bucket's name and the rights of the credentials",
    )
