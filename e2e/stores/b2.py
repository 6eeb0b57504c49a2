"""Backblaze B2's native API, versions 1 to 4, before the model that the vendor's own SDK is tested with.

    b2.py PLAIN_PORT TLS_PORT CERTIFICATE KEY       of 127.0.0.1; the state is in memory, and one for both ports

The model (`RawSimulator` of b2sdk) knows buckets, files and their versions. What it leaves out and clients trip over
is here: what a key may do, upload URLs that take one upload at a time and none after a failure, and the words of the
real service's errors. A test orders faults and looks at what was asked by paths that no client knows:

    POST /_test/faults {"upload_503": 2}        the next two uploads; what is still to come is the answer
    GET  /_test/counts                          requests so far, by call
    POST /_test/keys {"capabilities": [...], "bucket": NAME or null, "prefix": PREFIX or null}
                                                a restricted key; its bucket is made where there is none
"""

import base64
import collections
import hashlib
import io
import itertools
import json
import re
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from b2sdk._internal import exception as model_error
from b2sdk._internal.raw_simulator import BucketSimulator, RawSimulator

ACCOUNT_ID, OWNER_KEY = "OWNERKEYID", "owner-secret-of-the-tests"
LIST_MAX = 10_000

# Each is a number of times that it is still to happen.
FAULTS = dict.fromkeys(
    [
        "authorize_401",  # as if the key had been withdrawn
        "authorize_503",
        "api_429",  # with Retry-After, as the next
        "api_503",
        "expire",  # the token of the call, from this call on
        "cap_exceeded",  # an upload URL, or an upload, is refused since the account is full
        "upload_401",
        "upload_408",
        "upload_503",  # the storage pod is full: the usual reason for another URL
        "upload_reset",  # the connection breaks and nothing is stored
        "upload_lost",  # it is stored, and the connection breaks before the answer
        "download_503",
        "truncate",  # half of a download, then the connection ends
        "corrupt",  # a bit of a download is another
    ],
    0,
)

# What a key must be allowed, by call.
CAPABILITIES = {
    "b2_list_buckets": "listBuckets",
    "b2_create_bucket": "writeBuckets",
    "b2_delete_bucket": "deleteBuckets",
    "b2_get_upload_url": "writeFiles",
    "b2_get_upload_part_url": "writeFiles",
    "b2_start_large_file": "writeFiles",
    "b2_finish_large_file": "writeFiles",
    "b2_cancel_large_file": "writeFiles",
    "b2_hide_file": "writeFiles",
    "b2_list_file_names": "listFiles",
    "b2_list_file_versions": "listFiles",
    "b2_get_file_info": "readFiles",
    "b2_delete_file_version": "deleteFiles",
    "download": "readFiles",
}
# Those that a key of a prefix may make below it only.
NAMED = {"b2_start_large_file", "b2_hide_file", "b2_list_file_names", "b2_list_file_versions", "download"}
NAMED |= {"b2_delete_file_version"}


class Refusal(Exception):
    """An answer that says no, in the service's words."""

    def __init__(self, status, code, message, headers=None):
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


BUSY = {"Retry-After": "1"}
REFUSALS = [
    (model_error.FileNotPresent, 404, "not_found"),
    (model_error.NonExistentBucket, 400, "bad_bucket_id"),
    (model_error.DuplicateBucketName, 400, "duplicate_bucket_name"),
    (model_error.FileSha1Mismatch, 400, "bad_request"),
    (model_error.PartSha1Mismatch, 400, "bad_request"),
    (model_error.B2Error, 400, "bad_request"),
]


class Bucket(BucketSimulator):
    """The model's bucket, for more files than a unit test has: its counters end at some thousand, are those of one
    bucket only, and sort by their digits."""

    ids = itertools.count(9_999_999_999, -1)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.upload_url_counter = itertools.count()
        self.file_id_counter = Bucket.ids
        self.upload_timestamp_counter = itertools.count(int(time.time() * 1000))

    def _simulate_chunked_post(self, stream, content_length, **_):
        return stream.read(content_length)


class Model(RawSimulator):
    BUCKET_SIMULATOR_CLASS = Bucket

    def __init__(self):
        super().__init__()
        self.bucket_id_counter = itertools.count()
        identifier, _ = self.create_account()
        key = self.key_id_to_key.pop(identifier)
        key.account_id, key.application_key_id, key.key = "account", ACCOUNT_ID, OWNER_KEY
        self.key_id_to_key[ACCOUNT_ID] = key

    def _assert_account_auth(self, *_, **__):
        """`Service.check_key` does it: the model's own refuses a key of one bucket everywhere."""


class Service:
    """State of the whole service; everything is done with `lock` held."""

    def __init__(self):
        self.lock = threading.RLock()
        self.model = Model()
        self.counts = collections.Counter()
        self.faults = dict(FAULTS)
        self.uploading = set()  # tokens of upload URLs in use
        self.dead_urls = set()  # those that failed an upload

    def take(self, fault):
        with self.lock:
            if self.faults[fault] == 0:
                return False
            self.faults[fault] -= 1
            return True

    # What a test orders.

    def test(self, name, order):
        if name == "faults":
            unknown = set(order) - set(self.faults)
            if unknown:
                raise Refusal(400, "bad_request", f"no such fault: {sorted(unknown)}")
            self.faults.update(order)
            return self.faults
        if name == "counts":
            return self.counts
        if name == "keys":
            buckets = None
            if order.get("bucket"):
                name = order["bucket"]
                if name not in self.model.bucket_name_to_bucket:
                    self.model.create_bucket(self.model.API_URL, self.owner_token(), "account", name, "allPrivate")
                buckets = [self.model.bucket_name_to_bucket[name].bucket_id]
            return self.model.create_key(
                self.model.API_URL, None, "account", order["capabilities"], "test", None, buckets, order.get("prefix")
            )
        raise Refusal(404, "not_found", f"no such order: {name}")

    def owner_token(self):
        return self.model.authorize_account(None, ACCOUNT_ID, OWNER_KEY)["authorizationToken"]

    # Who may.

    def authorize(self, version, authorization, base):
        if self.take("authorize_401"):
            raise Refusal(401, "unauthorized", "invalid applicationKeyId or applicationKey")
        if self.take("authorize_503"):
            raise Refusal(503, "service_unavailable", "busy", BUSY)
        identifier, _, key = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        try:
            answer = self.model.authorize_account(None, identifier, key)
        except model_error.InvalidAuthToken as error:
            raise Refusal(401, "unauthorized", str(error)) from error
        allowed = answer.pop("apiInfo")["storageApi"]["allowed"]
        storage = {
            "apiUrl": base,
            "downloadUrl": base,
            "s3ApiUrl": base,
            "absoluteMinimumPartSize": 5_000_000,
            "recommendedPartSize": 100_000_000,
        }
        if version >= 4:
            return {**answer, "apiInfo": {"storageApi": {**storage, "allowed": allowed}}}
        buckets = allowed.pop("buckets") or [{"id": None, "name": None}]
        allowed.update(bucketId=buckets[0]["id"], bucketName=buckets[0]["name"])
        if version == 3:
            return {**answer, "apiInfo": {"storageApi": {**storage, **allowed}}}
        return {**answer, **storage, "minimumPartSize": 100_000_000, "allowed": allowed}

    def check_key(self, token, call, bucket_id=None, name=None):
        """A token that is known and fresh, of a key that may do this in that bucket, below that name."""
        key = self.model.auth_token_to_key.get(token)
        if key is None:
            raise Refusal(401, "bad_auth_token", "invalid authorization token")
        if self.take("expire"):
            self.model.expired_auth_tokens.add(token)
        if token in self.model.expired_auth_tokens:
            raise Refusal(401, "expired_auth_token", "authorization token has expired")
        if CAPABILITIES[call] not in key.capabilities:
            raise Refusal(401, "unauthorized", f"not entitled to {CAPABILITIES[call]}")
        if key.buckets_or_none is not None and bucket_id not in [bucket["id"] for bucket in key.buckets_or_none]:
            raise Refusal(401, "unauthorized", "not entitled to that bucket")
        if call in NAMED and key.name_prefix_or_none and not (name or "").startswith(key.name_prefix_or_none):
            raise Refusal(401, "unauthorized", "not entitled to that name")

    # What the calls do.

    def call(self, call, token, asked, base):
        bucket_id = asked.get("bucketId") or self.model.file_id_to_bucket_id.get(asked.get("fileId"))
        if call == "b2_list_buckets":
            bucket_id = bucket_id or self.bucket_id(asked.get("bucketName"))
        self.check_key(token, call, bucket_id, asked.get("fileName") or asked.get("prefix"))
        if self.take("api_503"):
            raise Refusal(503, "service_unavailable", "busy", BUSY)
        if self.take("api_429"):
            raise Refusal(429, "too_many_requests", "slow down", BUSY)
        return getattr(self, call)(token, asked, base)

    def bucket_id(self, name):
        bucket = self.model.bucket_name_to_bucket.get(name)
        return bucket and bucket.bucket_id

    def b2_list_buckets(self, token, asked, _):
        name, identifier = asked.get("bucketName"), asked.get("bucketId")
        return self.model.list_buckets(self.model.API_URL, token, asked["accountId"], identifier, name)

    def b2_create_bucket(self, token, asked, _):
        name = asked["bucketName"]
        if not re.fullmatch(r"[-A-Za-z0-9]{6,63}", name) or name.startswith("b2-"):
            raise Refusal(400, "bad_request", f"invalid bucket name: {name}")
        return self.model.create_bucket(self.model.API_URL, token, asked["accountId"], name, asked["bucketType"])

    def b2_delete_bucket(self, token, asked, _):
        bucket = self.model._get_bucket_by_id(asked["bucketId"])
        if bucket.file_id_to_file:
            raise Refusal(400, "cannot_delete_non_empty_bucket", "cannot delete non-empty bucket")
        return self.model.delete_bucket(self.model.API_URL, token, asked["accountId"], asked["bucketId"])

    def b2_get_upload_url(self, token, asked, base):
        self.check_cap()
        answer = self.model.get_upload_url(self.model.API_URL, token, asked["bucketId"])
        return {**answer, "uploadUrl": upload_url(base, "file", answer)}

    def b2_get_upload_part_url(self, token, asked, base):
        self.check_cap()
        answer = self.model.get_upload_part_url(self.model.API_URL, token, asked["fileId"])
        return {**answer, "fileId": asked["fileId"], "uploadUrl": upload_url(base, "part", answer)}

    def b2_start_large_file(self, token, asked, _):
        names = asked["bucketId"], asked["fileName"], asked["contentType"], asked.get("fileInfo") or {}
        return self.model.start_large_file(self.model.API_URL, token, *names)

    def b2_finish_large_file(self, token, asked, _):
        self.file(asked["fileId"])
        return self.model.finish_large_file(self.model.API_URL, token, asked["fileId"], asked["partSha1Array"])

    def b2_cancel_large_file(self, token, asked, _):
        self.file(asked["fileId"])
        return self.model.cancel_large_file(self.model.API_URL, token, asked["fileId"])

    def b2_hide_file(self, token, asked, _):
        bucket, name = self.model._get_bucket_by_id(asked["bucketId"]), asked["fileName"]
        versions = sorted(key for key in bucket.file_name_and_id_to_file if key[0] == name)
        if not versions:
            raise Refusal(400, "no_such_file", f"file not present: {name}")
        if not bucket.file_name_and_id_to_file[versions[0]].is_visible():
            raise Refusal(400, "already_hidden", f"file already hidden: {name}")
        return self.model.hide_file(self.model.API_URL, token, asked["bucketId"], name)

    def b2_list_file_names(self, token, asked, _):
        start, most, prefix = listing(asked)
        return self.model.list_file_names(self.model.API_URL, token, asked["bucketId"], start, most, prefix)

    def b2_list_file_versions(self, token, asked, _):
        start, most, prefix = listing(asked)
        names = asked["bucketId"], start, asked.get("startFileId"), most, prefix
        return self.model.list_file_versions(self.model.API_URL, token, *names)

    def b2_get_file_info(self, token, asked, _):
        self.file(asked["fileId"], 404, "not_found")
        return self.model.get_file_info_by_id(self.model.API_URL, token, asked["fileId"])

    def b2_delete_file_version(self, token, asked, _):
        if self.file(asked["fileId"]).name != asked["fileName"]:
            raise Refusal(400, "file_not_present", "file not present: another name")
        return self.model.delete_file_version(self.model.API_URL, token, asked["fileId"], asked["fileName"])

    def file(self, identifier, status=400, code="file_not_present"):
        bucket_id = self.model.file_id_to_bucket_id.get(identifier)
        bucket = self.model.bucket_id_to_bucket.get(bucket_id)
        if bucket is None or identifier not in bucket.file_id_to_file:
            raise Refusal(status, code, f"file not present: {identifier}")
        return bucket.file_id_to_file[identifier]

    def check_cap(self):
        if self.take("cap_exceeded"):
            raise Refusal(403, "cap_exceeded", "Cannot upload files, storage cap exceeded.")

    def begin_upload(self, token):
        if token in self.dead_urls:
            raise Refusal(401, "expired_auth_token", "upload token is no longer valid")
        if token in self.uploading:
            raise Refusal(400, "bad_request", "more than one upload using auth token " + token)
        self.uploading.add(token)

    def upload(self, part, token, headers, body):
        for fault, status, code in [
            ("upload_401", 401, "expired_auth_token"),
            ("upload_408", 408, "request_timeout"),
            ("upload_503", 503, "service_unavailable"),
        ]:
            if self.take(fault):
                self.dead_urls.add(token)
                raise Refusal(status, code, "no tomes available" if status == 503 else code)
        self.check_cap()
        account_token = token.rpartition("/")[2]
        if account_token not in self.model.auth_token_to_key:
            raise Refusal(401, "bad_auth_token", "invalid upload token")
        sha1 = headers["X-Bz-Content-Sha1"]
        if sha1 == "do_not_verify":
            sha1 = hashlib.sha1(body).hexdigest()
        if part:
            number = int(headers["X-Bz-Part-Number"])
            return self.model.upload_part(token, token, number, len(body), sha1, io.BytesIO(body))
        name = urllib.parse.unquote(headers["X-Bz-File-Name"])
        key = self.model.auth_token_to_key[account_token]
        if key.name_prefix_or_none and not name.startswith(key.name_prefix_or_none):
            raise Refusal(401, "unauthorized", "not entitled to that name")
        prefix = "x-bz-info-"
        infos = [(field.lower(), urllib.parse.unquote(value)) for field, value in headers.items()]
        info = {field.removeprefix(prefix): value for field, value in infos if field.startswith(prefix)}
        names = name, len(body), headers["Content-Type"], sha1, info
        return self.model.upload_file(token, token, *names, io.BytesIO(body))

    def download(self, token, path, query):
        """Headers and the whole body of a file, by its name or by its ID."""
        if path.startswith("/file/"):
            bucket_name, _, name = path.removeprefix("/file/").partition("/")
            name = urllib.parse.unquote_plus(name)
            bucket_id = self.bucket_id(bucket_name)
            self.check_key(token, "download", bucket_id, name)
            if bucket_id is None:
                raise Refusal(404, "not_found", f"bucket {bucket_name} does not exist")
            model = self.model.bucket_id_to_bucket[bucket_id].download_file_by_name(token, name, path)
        else:
            file = self.file(query.get("fileId"), 404, "not_found")
            self.check_key(token, "download", file.bucket.bucket_id, file.name)
            model = file.bucket.download_file_by_id(token, file.file_id, path)
        if self.take("download_503"):
            raise Refusal(503, "service_unavailable", "busy", BUSY)
        with model as response:
            return dict(response.headers), response.raw.data_bytes


def upload_url(base, kind, answer):
    return f"{base}/upload/{kind}?token={urllib.parse.quote(answer['uploadUrl'], safe='')}"


def listing(asked):
    most = int(asked.get("maxFileCount") or 100)
    if not 1 <= most <= LIST_MAX:
        raise Refusal(400, "out_of_range", f"maxFileCount out of range: {most}")
    # The model stops at the first name without the prefix, and refuses to start before it.
    prefix = asked.get("prefix") or ""
    return max(asked.get("startFileName") or "", prefix), most, prefix


def wanted_range(header, length):
    """First and last byte of a `Range`, or none where it is not one."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        first, last = max(length - int(last), 0), length - 1
    else:
        first, last = int(first), min(int(last) if last else length - 1, length - 1)
    if first >= length or first > last:
        raise Refusal(416, "range_not_satisfiable", "the range is outside the size of the file")
    return first, last


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is one write, and goes at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    service = Service()

    def log_message(self, *_):
        """Counts tell what was asked."""

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        try:
            if url.path.startswith("/upload/"):
                self.upload(url.path == "/upload/part", query.get("token"))
                return
            body = self.body()
            if url.path.startswith("/file/") or url.path.endswith("/b2_download_file_by_id"):
                self.download(url.path, query)
                return
            try:
                asked = {**query, **(json.loads(body) if body else {})}
            except ValueError as error:
                raise Refusal(400, "bad_json", str(error)) from error
            self.answer(200, self.call(url.path, asked))
        except Refusal as refusal:
            self.refuse(refusal)
        except KeyError as error:
            self.refuse(Refusal(400, "bad_request", f"required field {error} is missing"))
        except model_error.B2Error as error:
            status, code = next((status, code) for kind, status, code in REFUSALS if isinstance(error, kind))
            self.refuse(Refusal(status, code, str(error)))

    do_GET = do_POST = do_HEAD = handle_any

    def call(self, path, asked):
        service, authorization = self.service, self.headers.get("Authorization", "")
        match = re.fullmatch(r"/(?:_test/(\w+)|b2api/v([1-4])/(b2_\w+))", path)
        if match is None:
            raise Refusal(404, "not_found", f"no such path: {path}")
        order, version, call = match.groups()
        with service.lock:
            if order:
                return service.test(order, asked)
            self.count(call)
            base = f"{self.server.scheme}://{self.headers['Host']}"
            if call == "b2_authorize_account":
                return service.authorize(int(version), authorization, base)
            if call not in CAPABILITIES:
                raise Refusal(400, "bad_request", f"no such call: {call}")
            answer = service.call(call, authorization, asked, base)
            if version == "1" and "files" in answer:
                answer["files"] = [{**file, "size": file["contentLength"]} for file in answer["files"]]
            return answer

    def count(self, call):
        self.service.counts[call] += 1
        mode = self.headers.get("X-Bz-Test-Mode")
        if mode:
            self.service.counts[f"test mode {mode}"] += 1
            if mode == "force_cap_exceeded" and call in ("b2_get_upload_url", "upload"):
                raise Refusal(403, "cap_exceeded", "Cannot upload files, storage cap exceeded.")

    def upload(self, part, token):
        service = self.service
        with service.lock:
            refusal, begun = None, False
            try:
                self.count("upload")
                if self.headers.get("Authorization") != token:
                    raise Refusal(401, "bad_auth_token", "invalid upload token")
                service.begin_upload(token)
                begun = True
            except Refusal as error:
                refusal = error
        try:
            # A connection goes on only where the whole of the body was read.
            body = self.body()
            if refusal:
                raise refusal
            if service.take("upload_reset"):
                self.reset()
                return
            with service.lock:
                answer = service.upload(part, token, self.headers, body)
            if service.take("upload_lost"):
                self.reset()
                return
        finally:
            # Before the answer: the client may use the URL again as soon as it has it.
            if begun:
                with service.lock:
                    service.uploading.discard(token)
        self.answer(200, answer)

    def download(self, path, query):
        service = self.service
        with service.lock:
            self.count("download")
            headers, body = service.download(self.headers.get("Authorization", ""), path, query)
        status, length = 200, len(body)
        wanted = wanted_range(self.headers.get("Range"), length)
        if wanted:
            first, last = wanted
            status, body = 206, body[first : last + 1]
            headers["content-range"] = f"bytes {first}-{last}/{length}"
        if body and service.take("corrupt"):
            body = bytes([body[0] ^ 1]) + body[1:]
        headers["content-length"] = str(len(body))
        truncated = len(body) > 1 and self.command != "HEAD" and service.take("truncate")
        self.send(status, headers, body[: len(body) // 2] if truncated else body)
        if truncated:
            self.close_connection = True

    def body(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            raise Refusal(400, "bad_request", "the body is shorter than it says")
        return body

    def reset(self):
        # A plain close would leave a client waiting that still reads.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def refuse(self, refusal):
        body = {"status": refusal.status, "code": refusal.code, "message": refusal.message}
        self.answer(refusal.status, body, refusal.headers)

    def answer(self, status, value, headers=None):
        # The model's answers hold sets.
        body = json.dumps(value, default=sorted).encode()
        length = str(len(body))
        self.send(status, {"content-type": "application/json", "content-length": length, **(headers or {})}, body)

    def send(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, scheme):
        super().__init__(("127.0.0.1", port), Handler)
        self.scheme = scheme

    def handle_error(self, request, address):
        """A client that went is none; all else is to be seen."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, address)


def main():
    plain_port, tls_port, certificate, key = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    plain, tls = Server(int(plain_port), "http"), Server(int(tls_port), "https")
    # The handshake is made by the connection's own thread, at its first read.
    tls.socket = context.wrap_socket(tls.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    tls.serve_forever()


main()
