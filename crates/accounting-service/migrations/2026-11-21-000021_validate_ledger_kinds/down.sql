-- What is valid stays valid.
SELECT 1;
