# At level LOGGED the client is answered when the home holds the whole; the drive goes on
txn t1: 1 alice -5; 2 bob +5
txn t2: 1 carol -5; 2 dave +5
txn t3: 1 carol -5; 2 dave +5

> submit t1 as call 1 logged
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> s1 from 2: t1 #1 yes at @8
> s1 from 1: t1 #1 yes at @0
< call 1: logged, home 1 logged it as 1.0
< s1 to 1: commit t1 #1 at @8
< s1 to 2: commit t1 #1 at @8
# The home's lock is busy: it wrote an intent.
> submit t2 as call 2 logged
< s2 to 1: prepare t2 #1 in epoch 1 with the whole
< s2 to 2: prepare t2 #1 in epoch 1
> s2 from 1: t2 opened in epoch 1
< call 2: logged, home 1 logged it as 1.0
> s2 from 1: t2 #1 yes at @8
> s2 from 2: t2 #1 yes at @8
< s2 to 1: commit t2 #1 at @8
< s2 to 2: commit t2 #1 at @8
# A no: the home opens it.
> submit t3 as call 3 logged
< s3 to 1: prepare t3 #1 in epoch 1 with the whole
< s3 to 2: prepare t3 #1 in epoch 1
> s3 from 2: t3 #1 no, busy
< s3 to 1: abort t3 #1
< s3 to 2: abort t3 #1
< s3 to 1: open t3
> s3 from 1: t3 opened in epoch 1
< call 3: logged, home 1 logged it as 1.0
> s3 from 1: t3 known: committed at @80 by 1.9, of 1 2
