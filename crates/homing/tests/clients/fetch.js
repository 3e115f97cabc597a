fetch(process.argv[process.argv.length - 1], { method: "POST", body: "hello" })
  .then((answer) => answer.text())
  .then(console.log);
