# A read of two shards is confirmed in a second round, sent when the first is over
txn t1: 1 alice =1

> read as call 1: 2 bob, 1 alice, 2 carol
< s1 to 2: read: bob, carol
< s1 to 1: read: alice
> s1 from 2: rows in epoch 1 at 3: bob = 5 @1, carol absent
> s1 from 1: rows in epoch 1 at 9: alice = 7 @9
< s1 to 2: confirm epoch 1 since 3 try 0: bob, carol
< s1 to 1: confirm epoch 1 since 9 try 0: alice
> s1 from 1: try 0 unchanged
> s1 from 2: try 0 unchanged
< call 1: bob = 5 @1, alice = 7 @9, carol absent
