-- What each supervisor has granted on a day (UTC), against their cap. Rows of past days are swept.
CREATE TABLE supervisor_allocations (
    supervisor text NOT NULL,
    day        date NOT NULL,
    credits    bigint NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (supervisor, day)
);
