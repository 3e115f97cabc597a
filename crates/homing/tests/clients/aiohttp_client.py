import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.post(sys.argv[1], data='hello') as answer:
            print(await answer.text())
asyncio.run(main())
