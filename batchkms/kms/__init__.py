"""The KMS protocol, usable alone: client, signing, credentials, transport."""
