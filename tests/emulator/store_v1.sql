-- A store of schema version 1, as its emulator wrote it; the keys in it serve nothing else.
PRAGMA application_id = 1649102163;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE account (secret_id TEXT PRIMARY KEY, secret_key TEXT NOT NULL) STRICT;
INSERT INTO "account" VALUES('EMULATORVERSION1','made up for a test');
CREATE TABLE keys ( position INTEGER PRIMARY KEY, region TEXT NOT NULL, key_id TEXT NOT NULL UNIQUE, alias TEXT NOT NULL, description TEXT NOT NULL, state TEXT NOT NULL, usage TEXT NOT NULL, created_s INTEGER NOT NULL, material BLOB NOT NULL, UNIQUE (region, alias)) STRICT;
INSERT INTO "keys" VALUES(1,'ap-guangzhou','b9b50f26-e7c0-11f1-ad5c-db9e04c679f3','batchkms-demo','Made by the batchkms emulator for first steps','Enabled','ENCRYPT_DECRYPT',1700000000,X'E8FEB63469C2E73FE87BEF85862860C47705A216CBBB32FF141D0700E6086FDE');
INSERT INTO "keys" VALUES(2,'ap-guangzhou','b9b58fe8-e7c0-11f1-b444-1bdf1c0cfe18','orders','for orders','Archived','ENCRYPT_DECRYPT',1700000000,X'E30BA4B24C2B5BEE1638CF543B8C35853917728434E048FFA76F70D8C41FF148');
COMMIT;
