# A read that something wrote into is tried again, three times at once and then at a tick
txn t1: 1 alice =1

> read as call 1: 1 alice, 2 bob
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 9: alice = 7 @9
> s1 from 2: rows in epoch 1 at 3: bob = 5 @1
< s1 to 1: confirm epoch 1 since 9 try 0: alice
< s1 to 2: confirm epoch 1 since 3 try 0: bob
> s1 from 2: try 0 unchanged
> s1 from 1: try 0 changed
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 10: alice = 8 @17
> s1 from 2: rows in epoch 1 at 3: bob = 5 @1
< s1 to 1: confirm epoch 1 since 10 try 1: alice
< s1 to 2: confirm epoch 1 since 3 try 1: bob
# An old confirmation is of rows that are no longer held.
> s1 from 1: try 0 unchanged
> s1 from 2: try 0 unchanged
> s1 from 1: try 1 changed
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 11: alice = 9 @25
> s1 from 2: rows in epoch 1 at 3: bob = 5 @1
< s1 to 1: confirm epoch 1 since 11 try 2: alice
< s1 to 2: confirm epoch 1 since 3 try 2: bob
> s1 from 2: try 2 changed
> wait 60 ms
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 12: alice = 1 @33
> s1 from 2: rows in epoch 1 at 4: bob = 6 @9
< s1 to 1: confirm epoch 1 since 12 try 3: alice
< s1 to 2: confirm epoch 1 since 4 try 3: bob
> s1 from 1: try 3 unchanged
> wait 600 ms
< s1 to 2: confirm epoch 1 since 4 try 3: bob
> s1 from 2: try 3 unchanged
< call 1: alice = 1 @33, bob = 6 @9
