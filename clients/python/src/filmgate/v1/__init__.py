"""Generated from proto/filmgate/v1 by `clients/python/generate`. Messages are in `*_pb2`, stubs in `*_pb2_grpc`."""
