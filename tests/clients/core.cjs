// The core scenario through the official Node SDK, once for each way to sign and send.
//
// Takes the emulator's ready line as its argument and prints one line of JSON for each way, which
// test_node.py looks at. The endpoint is given with its port, as a developer would.
"use strict"

const assert = require("node:assert")
const { kms } = require("tencentcloud-sdk-nodejs/tencentcloud/services/kms")

const ready = JSON.parse(process.argv[2])

function client(signMethod, reqMethod, secretKey) {
  return new kms.v20190118.Client({
    credential: { secretId: ready.secret_id, secretKey },
    region: ready.region,
    profile: {
      signMethod,
      httpProfile: {
        reqMethod,
        protocol: "http://",
        endpoint: ready.endpoint.replace("http://", ""),
      },
    },
  })
}

async function refusal(call) {
  try {
    await call
  } catch (error) {
    return { code: error.code, message: error.message, request_id: error.requestId }
  }
  return null
}

async function scenario(signMethod, reqMethod) {
  const good = client(signMethod, reqMethod, ready.secret_key)
  const plaintext = Buffer.from("a secret: ä + / = & 秘密").toString("base64")
  const context = '{"app": "billing + more", "名": "值"}'
  const sealed = await good.Encrypt({
    KeyId: ready.key_id,
    Plaintext: plaintext,
    EncryptionContext: context,
  })
  const opened = await good.Decrypt({
    CiphertextBlob: sealed.CiphertextBlob,
    EncryptionContext: context,
  })
  assert.strictEqual(opened.Plaintext, plaintext)
  const listed = await good.ListKeys({ Offset: 0, Limit: 10 })
  const described = await good.DescribeKeys({ KeyIds: listed.Keys.map((key) => key.KeyId) })
  const wrong = client(signMethod, reqMethod, "another key")
  return {
    way: `${signMethod} ${reqMethod}`,
    key_id: opened.KeyId,
    listed: listed.Keys.map((key) => key.KeyId),
    described: described.KeyMetadatas.map((metadata) => metadata.KeyId),
    bad_blob: await refusal(good.Decrypt({ CiphertextBlob: "no blob" })),
    bad_signature: await refusal(wrong.ListKeys({})),
  }
}

async function main() {
  for (const signMethod of ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"]) {
    for (const reqMethod of ["POST", "GET"]) {
      console.log(JSON.stringify(await scenario(signMethod, reqMethod)))
    }
  }
}

main()
