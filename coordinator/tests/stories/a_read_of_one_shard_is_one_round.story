# A read of one shard has one round, which proves leadership by itself
txn t1: 1 alice =1

> read as call 1: 1 alice, 1 bob
< s1 to 1: read only: alice, bob
> s1 from 1: rows in epoch 1 at 3: alice = 5 @1, bob absent
< call 1: alice = 5 @1, bob absent
> read as call 2: 1 alice
< s2 to 1: read only: alice
> s2 from 1: overloaded
< call 2: overloaded
