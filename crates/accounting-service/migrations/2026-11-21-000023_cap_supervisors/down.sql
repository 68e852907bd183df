DROP TABLE supervisor_allocations;
