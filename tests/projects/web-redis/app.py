"""A page that counts how often it was seen; the count is kept in redis."""

import os
import time

import redis
from flask import Flask

app = Flask(__name__)
cache = redis.Redis(host="redis", port=6379)


def greeting():
    path = os.environ.get("GREETING_FILE")
    if path is None:
        return "Hello World!"
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def hits():
    retries = 5
    while True:
        try:
            return cache.incr("hits")
        except redis.exceptions.ConnectionError:
            if retries == 0:
                raise
            retries -= 1
            time.sleep(0.5)


@app.route("/")
def hello():
    return f"{greeting()} I have been seen {hits()} times.\n"


@app.route("/secret")
def secret():
    """Says only whether the secret is there, and how long it is."""
    path = os.environ.get("PASSPHRASE_FILE")
    if path is None:
        return "no secret\n", 404
    with open(path, encoding="utf-8") as file:
        return f"{len(file.read().strip())} characters\n"
