# An answer that a deposed leader must not give waits for a lease, or for one barrier for all
shard 1
lease 2000 ms
txn t1: 1 alice =1
txn t2: 1 bob =1

# A new leader has sent nothing that was accepted: no lease yet.
> ask t1 from c1
+ 1 Barrier
> ask t1 from c2
> durable
< c1: t1 known: nothing
< c2: t1 known: nothing
# From now on a lease runs, from the sending of the barrier.
> ask t1 from c3
< c3: t1 known: nothing
> wait 1990 ms
> ask t1 from c3
< c3: t1 known: nothing
> wait 20 ms
> ask t1 from c4
+ 2 Barrier
> single t1 from c5
+ 3 CommitSingle t1 at @2010000: alice
> durable
< c4: t1 known: nothing
< flush io1: alice = 1 @2010001
< c5: t1 committed at @2010000 by 1.3
# A commit needs no other proof than its own record; it renews the lease from its sending.
> wait 1000 ms
> ask t1 from c6
< c6: t1 known: committed at @2010000 by 1.3
