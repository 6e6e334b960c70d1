import json
from base64 import b64decode
from sys import argv, stdin, stdout

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tencentcloud.common.credential import EnvironmentVariableCredential as FromEnv
from tencentcloud.common.profile.client_profile import ClientProfile, HttpProfile
from tencentcloud.kms.v20190118.kms_client import KmsClient

row = json.load(stdin)
kms = KmsClient(FromEnv().get_credential(), argv[1], ClientProfile(None, HttpProfile(*argv[2:])))
asked = {"CiphertextBlob": row["data_key"], "EncryptionContext": '{"batchkms":"envelope/1"}'}
key = b64decode(kms.call_json("Decrypt", asked)["Response"]["Plaintext"])
row_id, context = row["id"].encode(), row.get("encryption_context", "").encode()
bound = len(row_id).to_bytes(4, "big") + row_id + (b"\1" + context if context else b"\0")
box = b64decode(row["ciphertext"], validate=True)
stdout.buffer.write(AESGCM(key).decrypt(box[1:13], box[13:], b"batchkms/envelope/1\0" + bound))
