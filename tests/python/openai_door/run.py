"""Drives the official OpenAI client against a served filmgate, as a user's program would.

Usage: run.py TOPIC BASE_URL CONTROL_URL. A topic is a module beside this one with a list CASES of functions, each of which takes an `It`.
BASE_URL ends in `/v1`; CONTROL_URL is the control side of the simulator that is the server's vendor. Prints the version of the client, one line
a case, and `all of TOPIC`; any difference from what the client should see ends the program with a traceback.
"""

import importlib
import json
import sys
import time
import urllib.request
import warnings
from dataclasses import dataclass

import openai

# OpenAI has shut its Videos API down; the client still has it, and says so at every call.
warnings.simplefilter("ignore", DeprecationWarning)


@dataclass
class It:
    """What a case works with."""

    client: openai.OpenAI
    base_url: str
    control_url: str

    def control(self, path, body=None):
        """A call of the simulator's control side."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.control_url}/{path}", data=data)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def faults(self, *rules):
        self.control("faults", {"faults": list(rules)})

    def jobs(self):
        """What the vendor was asked for, oldest first."""
        return self.control("jobs")["openai"]

    def release(self, prompt):
        """Lets a held job of this prompt end, as soon as the vendor has it."""
        while True:
            for job in self.jobs():
                if prompt in job["body"]["prompt"]:
                    return self.control("release", {"id": job["id"]})
            time.sleep(0.02)


def refused(kind, call):
    """The error of a call that must fail as this kind, and no other."""
    try:
        call()
    except openai.OpenAIError as error:
        assert type(error) is kind, f"{type(error).__name__}: {error}"
        return error
    raise AssertionError("the call was not refused")


def main(topic, base_url, control_url):
    print(f"openai {openai.__version__}")
    client = openai.OpenAI(base_url=base_url, api_key="sk-any", max_retries=0)
    it = It(client, base_url, control_url)
    for case in importlib.import_module(topic).CASES:
        it.faults()
        case(it)
        print(case.__name__)
    print(f"all of {topic}")


if __name__ == "__main__":
    # Topics import this file by its name.
    sys.modules["run"] = sys.modules["__main__"]
    main(*sys.argv[1:])
