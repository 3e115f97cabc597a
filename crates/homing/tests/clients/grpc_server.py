import concurrent.futures, grpc
def talk(messages, context):
    for message in messages:
        yield message + b' again'
    context.set_trailing_metadata((('parting', 'word'),))
class Handler(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.stream_stream_rpc_method_handler(talk)
server = grpc.server(concurrent.futures.ThreadPoolExecutor(), handlers=(Handler(),))
print(server.add_insecure_port('127.0.0.1:0'), flush=True)
server.start()
server.wait_for_termination()
