// Healthy is a primary that takes writes. A replica set has to be told once that it is one.
const { readFileSync } = require("fs");
db.auth("root", readFileSync("/run/secrets/mongodb_root_password", "utf8").trim());

const hello = db.hello();
if (hello.isWritablePrimary) quit(0);
if (!hello.setName) {
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] });
}
quit(1);
