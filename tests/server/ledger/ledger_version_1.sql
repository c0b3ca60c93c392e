-- A ledger as release 0.1.0 wrote it.
BEGIN TRANSACTION;
CREATE TABLE images (
            local_id TEXT NOT NULL REFERENCES orders (local_id),
            "index" INTEGER NOT NULL,
            state TEXT NOT NULL,
            url TEXT,
            path TEXT,
            width INTEGER,
            height INTEGER,
            bytes INTEGER,
            sha256 TEXT,
            code TEXT,
            message TEXT,
            PRIMARY KEY (local_id, "index")
        ) WITHOUT ROWID
        ;
INSERT INTO "images" VALUES('local-4',1,'WAITING','http://image/1',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "images" VALUES('local-4',2,'STAGED','http://image/2','/pictures/shop-2.png',NULL,NULL,NULL,'ab',NULL,NULL);
INSERT INTO "images" VALUES('local-4',3,'SAVED',NULL,'/pictures/shop-3.png',1280,720,5,'cd',NULL,NULL);
INSERT INTO "images" VALUES('local-4',4,'UNSAVED','http://image/4',NULL,NULL,NULL,NULL,NULL,'StorageFull','The disk is full.');
INSERT INTO "images" VALUES('local-5',1,'FAILED',NULL,NULL,NULL,NULL,NULL,NULL,'Expired','The link is over.');
CREATE TABLE limits (
    name TEXT PRIMARY KEY,
    next_at REAL NOT NULL,
    not_before REAL NOT NULL DEFAULT 0
) WITHOUT ROWID
;
INSERT INTO "limits" VALUES('create/easy',1800000005.001,0.0);
INSERT INTO "limits" VALUES('query/singapore',1800000005.05,1800000008.0);
CREATE TABLE orders (
            local_id TEXT PRIMARY KEY,
            task_id TEXT UNIQUE,
            origin TEXT NOT NULL,
            region TEXT NOT NULL,
            account TEXT NOT NULL,
            model TEXT,
            wire_model TEXT,
            protocol TEXT,
            request TEXT,
            fingerprint TEXT,
            images_ordered INTEGER NOT NULL,
            folder TEXT,
            stage TEXT NOT NULL,
            status TEXT NOT NULL,
            created_at REAL NOT NULL,
            sent_at REAL,
            clock_offset REAL,
            lost_at REAL,
            accepted_at REAL,
            finished_at REAL,
            expires_at REAL,
            duration REAL,
            owner TEXT,
            lease_until REAL NOT NULL DEFAULT 0,
            version INTEGER NOT NULL DEFAULT 0,
            request_id TEXT,
            actual_prompt TEXT,
            error_code TEXT,
            error_message TEXT,
            notes TEXT NOT NULL DEFAULT '[]',
            wanted_until REAL NOT NULL DEFAULT 0,
            wanted_by TEXT,
            delivered_at REAL
        );
INSERT INTO "orders" VALUES('local-1',NULL,'ordered','singapore','account','wan2.6-t2i','wan2.6-t2i','async','{"model": "wan2.6-t2i", "n": 1, "prompt": "queued", "region": "singapore", "size": "1280*720", "watermark": false}','request 1',1,'/pictures','QUEUED','PENDING',1800000000.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'me',1800000030.0,0,NULL,NULL,NULL,NULL,'[]',1800000045.0,'me',NULL);
INSERT INTO "orders" VALUES('local-2',NULL,'ordered','singapore','account','wan2.6-t2i','wan2.6-t2i','async','{"model": "wan2.6-t2i", "n": 1, "prompt": "sending", "region": "singapore", "size": "1280*720", "watermark": false}','request 2',1,'/pictures','SENDING','PENDING',1800000001.0,1800000002.0,0.5,NULL,NULL,NULL,NULL,NULL,'me',1800000031.0,0,NULL,NULL,NULL,NULL,'[]',1800000046.0,'me',NULL);
INSERT INTO "orders" VALUES('local-3',NULL,'ordered','singapore','account','wan2.6-t2i','wan2.6-t2i','async','{"model": "wan2.6-t2i", "n": 1, "negative_prompt": "people", "prompt": "lost", "region": "singapore", "size": "1280*720", "watermark": false}','request 3',1,'/pictures','LOST','SUBMIT_UNKNOWN',1800000002.0,1800000003.0,0.5,1800000003.0,NULL,NULL,NULL,NULL,'me',1800000032.0,0,NULL,NULL,'AnswerLost','The answer was lost.','[]',1800000047.0,'me',NULL);
INSERT INTO "orders" VALUES('local-4','task-open','ordered','singapore','account','wan2.6-t2i','wan2.6-t2i','async','{"filename": "shop", "model": "wan2.6-t2i", "n": 4, "output_dir": "shops", "prompt": "Ein BLUMENLADEN in der Straße 花店", "prompt_extend": true, "region": "singapore", "seed": 7, "size": "1280*720", "watermark": false}','request 4',4,'/pictures','OPEN','SUCCEEDED',1800000003.0,1800000004.0,0.5,NULL,1.0,1800000004.0,1800086404.0,12.5,'me',1800000033.0,0,'r-1','A florist''s window.',NULL,NULL,'[]',1800000048.0,'me',NULL);
INSERT INTO "orders" VALUES('local-5','task-closed','ordered','singapore','account','wan2.6-t2i','wan2.6-t2i','async','{"model": "wan2.6-t2i", "n": 1, "prompt": "closed", "region": "singapore", "size": "1280*720", "watermark": false}','request 5',1,'/pictures','CLOSED','EXPIRED',1800000004.0,1800000005.0,0.5,NULL,1.0,NULL,NULL,NULL,'me',1800000034.0,0,NULL,NULL,NULL,NULL,'["It was found again.", "Zwei — 三"]',0.0,'me',1800000005.0);
INSERT INTO "orders" VALUES('local-adopted','task-adopted','adopted','beijing','account',NULL,NULL,NULL,NULL,NULL,0,NULL,'OPEN','UNKNOWN',1800000005.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,0,NULL,NULL,NULL,NULL,'[]',0.0,NULL,NULL);
CREATE TABLE slots (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "slots" VALUES('create/singapore/account/wan2.6-t2i','local-2',1800000008.0);
CREATE INDEX orders_open ON orders (lease_until) WHERE stage <> 'CLOSED';
CREATE INDEX orders_recent ON orders (created_at, local_id);
CREATE INDEX orders_alike ON orders (fingerprint, created_at);
COMMIT;
PRAGMA user_version = 1;
