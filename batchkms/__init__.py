"""batchkms: encrypt a secrets inventory in bulk with Tencent Cloud KMS."""
