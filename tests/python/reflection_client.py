"""Makes a video knowing nothing of the contract but what the server's reflection tells.

Usage: reflection_client.py HOST:PORT FILE, where FILE is written. Prints one line per topic; any difference from what a
generic client should see ends the program with a traceback.
"""

import hashlib
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2

SERVICES = {
    "filmgate.v1.ArtifactService",
    "filmgate.v1.GenerationService",
    "filmgate.v1.ModelService",
    "filmgate.v1.BudgetService",
    "filmgate.v1.SessionService",
    "grpc.health.v1.Health",
}
VERSIONS = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")


class Reflection:
    """One version of the service; both have the same messages, so one set of classes serves for both."""

    def __init__(self, channel, service):
        self.ask = channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )

    def one(self, **question):
        (answer,) = self.ask(iter([reflection_pb2.ServerReflectionRequest(**question)]))
        assert answer.WhichOneof("message_response") != "error_response", answer
        return answer

    def services(self):
        return {service.name for service in self.one(list_services="").list_services_response.service}

    def pool(self, symbols):
        """A pool of the files that hold the symbols, with all they import."""
        files = {}

        def take(answer):
            for encoded in answer.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(encoded)
                if file.name not in files:
                    files[file.name] = file
                    for imported in file.dependency:
                        if imported not in files:
                            take(self.one(file_by_filename=imported))

        for symbol in symbols:
            take(self.one(file_containing_symbol=symbol))
        pool = descriptor_pool.DescriptorPool()

        def add(name):
            file = files.pop(name, None)
            if file is not None:
                for imported in file.dependency:
                    add(imported)
                pool.Add(file)

        for name in list(files):
            add(name)
        return pool


class Client:
    """Calls by full method name, with classes made from descriptors."""

    def __init__(self, channel, pool):
        self.channel = channel
        self.pool = pool

    def call(self, service, method, **fields):
        described = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(described.input_type)(**fields)
        answer = message_factory.GetMessageClass(described.output_type)
        make = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        call = make(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return call(request, timeout=30)


def describe_everything(pool):
    methods = 0
    for name in SERVICES:
        service = pool.FindServiceByName(name)
        for method in service.methods:
            assert message_factory.GetMessageClass(method.input_type)() is not None
            assert message_factory.GetMessageClass(method.output_type)() is not None
            methods += 1
    return methods


def generate(client, path):
    generation_type = client.pool.FindMessageTypeByName("filmgate.v1.Generation")
    states = generation_type.fields_by_name["state"].enum_type.values_by_name
    snapshots = list(client.call("filmgate.v1.GenerationService", "GenerateVideo", prompt="seen by reflection"))
    last = snapshots[-1].generation
    assert last.state == states["STATE_SUCCEEDED"].number, last
    artifact = last.artifacts[0]
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for part in client.call("filmgate.v1.ArtifactService", "DownloadArtifact", name=artifact.name):
            digest.update(part.chunk.data)
            file.write(part.chunk.data)
    assert digest.hexdigest() == artifact.sha256
    return artifact


def refusal(client):
    """Error details are `Any`s whose types come from reflection too."""
    try:
        list(client.call("filmgate.v1.GenerationService", "GenerateVideo", prompt=" "))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        encoded = dict(error.trailing_metadata())["grpc-status-details-bin"]
    else:
        raise AssertionError("a blank prompt was accepted")
    make = lambda name: message_factory.GetMessageClass(client.pool.FindMessageTypeByName(name))
    found = {}
    for detail in make("google.rpc.Status").FromString(encoded).details:
        name = detail.type_url.rpartition("/")[2]
        found[name] = make(name).FromString(detail.value)
    assert found["google.rpc.ErrorInfo"].reason == "INVALID_REQUEST", found
    assert found["google.rpc.BadRequest"].field_violations[0].field == "prompt", found


def main(address, path):
    with grpc.insecure_channel(address) as channel:
        for version in VERSIONS:
            reflection = Reflection(channel, version)
            listed = reflection.services()
            assert SERVICES <= listed, listed
            details = ["google.rpc.Status", "google.rpc.ErrorInfo", "google.rpc.BadRequest"]
            pool = reflection.pool([*SERVICES, *details])
            print(version, "describes", describe_everything(pool), "methods")
            client = Client(channel, pool)
            artifact = generate(client, path)
            print("generated", artifact.media_type, artifact.size_bytes, "bytes")
            refusal(client)
            print("understood a refusal")


if __name__ == "__main__":
    main(*sys.argv[1:])
