// Run once, on an empty database: a user for each service that reaches its own database and no other.
const { readFileSync } = require("fs");
const secret = (name) => readFileSync(`/run/secrets/${name}`, "utf8").trim();
const admin = db.getSiblingDB("admin");

for (const [user, database] of [["auth", "auth_db"], ["proxy", "flowise_proxy"]]) {
  admin.createUser({
    user,
    pwd: secret(`mongodb_${user}_password`),
    roles: [{ role: "readWrite", db: database }],
  });
}
