# A checkpoint carries promises, intents, outcomes, bars, the floor, the last timestamp and unapplied rows
shard 1
limit window 600000
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1; 2 dave =1
txn t3: 1 erin +1
txn t4: 2 frank =1; 1 grace =1
txn t5: 1 heidi =1; 2 ivan =1
txn t6 at -599995: 1 judy =1
txn t7: 1 alice =7

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> open t2 from c1
+ 2 Intent t2
> single t3 from c1
< read io1: erin
> rows io1
+ 3 CommitSingle t3 at @8: erin
> resolve t4 #1 from c1
+ 4 Refuse t4 #1
> closed t5: condition 1 on ivan found null
+ 5 Close t5 of 1 2: condition 1 on ivan found null
> durable
< c1: t1 #1 yes at @0
< c1: t2 opened in epoch 1
< flush io2: erin = 1 @9
< c1: t3 committed at @8 by 1.3
< c1: t4 #1 resolved: refused
> flush fails io2
> checkpoint soon
> wait 10 ms
+ 6 Floor -599990
< flush io2: erin = 1 @9
< sync io3
< drive t2 #2
> synced io3
+ 7 Checkpoint chunk 0, the last
> durable
< checkpointed at p8, trim below p0
> restart from hint
+ 0 Epoch 2
< leading in epoch 2
< flush io1: erin = 1 @9
> resolve t1 #1 from c2
< c2: t1 #1 resolved: prepared at @0
> ask t2 from c2
< c2: t2 known: open, of 1 2
> single t3 from c2
< c2: t3 committed at @8 by 1.3
> prepare t4 #1 from c2
< c2: t4 #1 no, refused
> ask t5 from c2
< c2: t5 known: closed: condition 1 on ivan found null, of 1 2
> single t6 from c2
< c2: t6 too old, floor -599990
> single t7 from c2
> commit t1 #1 at @16
+ 1 Commit t1 #1 at @16
+ 2 CommitSingle t7 at @10000: alice
> durable
< c2: t7 committed at @10000 by 2.2
> wait 10 ms
< drive t2 #3
> flushed io1
< flush io2: alice = 7 @10001
