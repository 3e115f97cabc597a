import grpc, sys
channel = grpc.insecure_channel(sys.argv[1])
call = channel.stream_stream('/test.Echo/Talk')(iter([b'hello', b'hello']), timeout=20)
for message in call:
    print(message.decode())
print(call.code().name, dict(call.trailing_metadata())['parting'])
