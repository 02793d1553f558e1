import type { TranslationBundle } from '@jupyterlab/translation';

import { LoopError, messageOf } from './api';
import type { IValues } from './form';
import { fieldOf, NO_VALUES, request, wrong } from './form';
import type { IDefaults } from './newform';
import { NewLoopForm } from './newform';
import { StayingDialog } from './staying';
import type { ILoopManager, Loop } from './tokens';
import { editVaults } from './vaults';

/** How long the dialog waits for what there is to pick from; it fills it in later otherwise. */
const CHOICES_MS = 500;

/**
 * Asks for a new loop and makes it.
 *
 * @param manager - Makes it.
 * @param trans - Translates.
 * @param defaults - What the form begins with.
 * @returns The loop; undefined when the person changed their mind.
 */
export async function newLoop(
  manager: ILoopManager,
  trans: TranslationBundle,
  defaults: IDefaults
): Promise<Loop | undefined> {
  let values: IValues = { ...NO_VALUES, ...defaults };
  for (;;) {
    const answer = await ask(manager, trans, values);
    if (!answer.areVaultsWanted) {
      return answer.made;
    }
    // What was typed is kept while the vaults are edited.
    values = answer.values;
    await editVaults(manager, trans, values.vault);
  }
}

interface IAnswer {
  made: Loop | undefined;
  values: IValues;
  areVaultsWanted: boolean;
}

async function ask(
  manager: ILoopManager,
  trans: TranslationBundle,
  values: IValues
): Promise<IAnswer> {
  let made: Loop | undefined;
  let areVaultsWanted = false;
  const form = new NewLoopForm(trans, values, () => {
    areVaultsWanted = true;
    dialog.reject();
  });
  const calling = new AbortController();
  const create = async () => {
    const found = wrong(form.getValue());
    if (found !== undefined) {
      form.explain({
        field: found.field,
        message:
          found.why === 'missing'
            ? trans.__('Give the loop a title.')
            : trans.__('Say of which repo.')
      });
      return false;
    }
    form.isBusy = true;
    try {
      made = await manager.create(request(form.getValue()), calling.signal);
      return true;
    } catch (error) {
      if (calling.signal.aborted) {
        return false;
      }
      const field =
        error instanceof LoopError ? fieldOf(error.field) : undefined;
      form.explain({
        field,
        message:
          field !== undefined && error instanceof LoopError
            ? error.besideField
            : messageOf(error)
      });
      return false;
    } finally {
      form.isBusy = false;
    }
  };
  const dialog = new StayingDialog(
    {
      title: trans.__('New Loop'),
      body: form,
      close: trans.__('Cancel'),
      accept: trans.__('Create'),
      focusNodeSelector: '#jp-loops-title'
    },
    create
  );
  const filled = manager.choices().then(choices => {
    form.choices = choices;
  });
  // Fields that come while somebody types would make the form jump.
  await Promise.race([
    filled,
    new Promise(resolve => setTimeout(resolve, CHOICES_MS))
  ]);
  await dialog.launch();
  // Who closes it while the loop is being made does not want it.
  calling.abort();
  return { made, values: form.getValue(), areVaultsWanted };
}
